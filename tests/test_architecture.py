"""Who may import whom, and what decides without looking at a clock, a socket or a disk."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("readings", "poller", "bridge", "simulator", "heating")

PURE = {
    "readings/announcer.py",
    "readings/discovery.py",
    "readings/errors.py",
    "readings/health.py",
    "readings/message.py",
    "readings/payload.py",
    "readings/program_discovery.py",
    "readings/reading.py",
    "readings/release.py",
    "readings/rivals.py",
    "readings/topics.py",
    "readings/validation.py",
    "readings/vocabulary.py",
    "poller/address.py",
    "poller/advice.py",
    "poller/assemble.py",
    "poller/blocks.py",
    "poller/commissioning/diagnosis.py",
    "poller/commissioning/fit.py",
    "poller/commissioning/seen.py",
    "poller/decimals.py",
    "poller/decode.py",
    "poller/device.py",
    "poller/discovery.py",
    "poller/errands.py",
    "poller/errors.py",
    "poller/energy.py",
    "poller/filters.py",
    "poller/frames.py",
    "poller/identity.py",
    "poller/pace.py",
    "poller/kept.py",
    "poller/leftovers.py",
    "poller/names.py",
    "poller/plan.py",
    "poller/points.py",
    "poller/profile_merge.py",
    "poller/proxy/clerk.py",
    "poller/proxy/conversation.py",
    "poller/proxy/frames.py",
    "poller/proxy/recent.py",
    "poller/proxy/rules.py",
    "poller/replay.py",
    "poller/request.py",
    "poller/roster.py",
    "poller/rota.py",
    "poller/seat.py",
    "poller/sources/exporter.py",
    "poller/sources/exposition.py",
    "poller/sources/heard.py",
    "poller/sources/patterns.py",
    "poller/sources/rules.py",
    "poller/sources/values.py",
    "poller/sources/__init__.py",
    "poller/sources/shelly/asking.py",
    "poller/sources/shelly/components.py",
    "poller/sources/shelly/frames.py",
    "poller/sources/shelly/making.py",
    "poller/sources/shelly/overlay.py",
    "poller/sources/shelly/source.py",
    "poller/sources/shelly/tables.py",
    "poller/states.py",
    "poller/timetable.py",
    "poller/transport.py",
    "poller/unanswered.py",
    "poller/walltime.py",
    "bridge/cards.py",
    "bridge/arrival.py",
    "bridge/asking.py",
    "bridge/batch.py",
    "bridge/catchup.py",
    "bridge/charts.py",
    "bridge/exposition.py",
    "bridge/faces.py",
    "bridge/figures.py",
    "bridge/gaps.py",
    "bridge/latest.py",
    "bridge/page.py",
    "bridge/ranges.py",
    "bridge/receiver.py",
    "bridge/sample.py",
    "bridge/status.py",
    "bridge/style.py",
    "bridge/trace.py",
    "bridge/verdict.py",
    "bridge/remote_write/encode.py",
    "bridge/remote_write/metadata.py",
    "bridge/remote_write/outcome.py",
    "bridge/remote_write/prometheus_pb2.py",
    "bridge/remote_write/window.py",
    "heating/backup/contents.py",
    "heating/backup/rotation.py",
    "heating/backup/schedule.py",
    "heating/errors.py",
    "heating/migrate/counts.py",
    "heating/migrate/look.py",
    "heating/migrate/origins.py",
    "heating/migrate/sieve.py",
    "heating/migrate/survey.py",
    "heating/migrate/windows.py",
    "heating/migrate/words.py",
    "heating/report/answer.py",
    "heating/report/chart.py",
    "heating/report/columns.py",
    "heating/report/days.py",
    "heating/report/figures.py",
    "heating/report/measured.py",
    "heating/report/queries.py",
    "heating/report/table.py",
    "heating/report/tariff.py",
    "heating/table.py",
    "simulator/bus.py",
    "simulator/devices.py",
    "simulator/errors.py",
    "simulator/faults.py",
    "simulator/house.py",
    "simulator/meter.py",
    "simulator/registers.py",
    "simulator/shelly.py",
    "simulator/weather.py",
    "simulator/wire.py",
}
"""Modules that take bytes and the time as arguments."""

IMPURE_MODULES = {
    "asyncio", "ctypes", "fcntl", "http", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select",
    "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "tempfile", "time", "urllib",
    "uuid", "paho", "pymodbus", "serial", "termios", "importlib",
}  # fmt: skip
"""What touches a clock, a socket, a disk, a process or chance. `datetime` may format a time but not ask for it."""

IMPURE_CALLS = {"now", "utcnow", "today", "open"}

MAY_IMPORT = {
    "readings": set(),
    "poller": {"readings"},
    "bridge": {"readings"},
    "simulator": {"readings", "poller"},
    "heating": {"readings", "poller", "bridge", "simulator"},
}


def modules() -> list[Path]:
    return sorted(
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if not path.name.endswith("_pb2.py")
    )


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their package"
            yield node.module or ""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_packages_import_only_what_they_may(path):
    package = path.relative_to(ROOT).parts[0]
    for name in imports(ast.parse(path.read_text())):
        top = name.split(".")[0]
        if top in PACKAGES and top != package:
            assert top in MAY_IMPORT[package], f"{relative(path)} imports {name}"
        if package == "simulator" and top == "poller":
            assert name == "poller.profile", (
                "the simulator takes the profiles from the poller and nothing else"
            )


@pytest.mark.parametrize(
    ("library", "only"),
    [
        ("paho", {"readings/broker.py"}),
        ("pymodbus", {"poller/bus.py"}),
        ("serial", {"poller/serial_port.py"}),
        (
            "sqlite3",
            {
                "poller/journal.py",
                "poller/journal_file.py",
                "poller/journal_rows.py",
                "poller/journal_upkeep.py",
                "bridge/database.py",
                "heating/backup/snapshot.py",
                "readings/database_file.py",
            },
        ),
    ],
)
def test_only_its_own_modules_know_a_library(library, only):
    users = {
        relative(path)
        for path in modules()
        if any(name.split(".")[0] == library for name in imports(ast.parse(path.read_text())))
    }
    assert users == only


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_module_that_decides_is_pure(name):
    tree = ast.parse((ROOT / name).read_text())
    touched = {module.split(".")[0] for module in imports(tree)} & IMPURE_MODULES
    assert not touched, f"{name} imports {touched}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert called not in IMPURE_CALLS, f"{name}:{node.lineno} calls {called}()"


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_imports_only_pure_ones_of_ours(name):
    for module in imports(ast.parse((ROOT / name).read_text())):
        if module.split(".")[0] in PACKAGES:
            file = module.replace(".", "/") + ".py"
            assert file in PURE or file == "poller/profile.py", f"{name} imports {module}"


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_nothing_at_module_level_changes(path):
    """No `global`, and no empty container waiting at module level to be filled."""
    tree = ast.parse(path.read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)]
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
            node.value, ast.Dict | ast.List | ast.Set
        ):
            elements = node.value.keys if isinstance(node.value, ast.Dict) else node.value.elts
            assert elements, f"{relative(path)}:{node.lineno}"


def test_there_is_no_drawer():
    drawers = {"utils", "util", "common", "helpers", "helper", "misc", "const", "base", "core"}
    assert not [relative(path) for path in modules() if path.stem in drawers]
