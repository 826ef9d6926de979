"""The report of a real Prometheus against the truth of the house that filled it."""

import csv
import http.client
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.sample import Sample
from heating.__main__ import main
from tests.conftest import Server, free_port, needs, wait_until
from tests.heating.report.simple_house import (
    NewMeter,
    Outage,
    SimpleHouse,
    berlin_midnight_s,
    days,
    fill,
    utc,
)
from tests.history import History, Replacement, send

ZONE = 'timezone = "Europe/Berlin"\n'
OUTAGE_DAY = "2026-03-26"
WITHIN_DAY = Outage(utc("2026-03-26T09:00"), utc("2026-03-26T12:20"))
OVER_MIDNIGHT = Outage(utc("2026-03-31T20:00"), utc("2026-04-01T03:00"))


def serve(folder: Path, *options: str) -> Server:
    program = needs("prometheus")
    config = folder / "prometheus.yml"
    config.write_text("storage: {tsdb: {out_of_order_time_window: 14d}}\n")
    port = free_port()
    command = [
        program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver",
        "--storage.tsdb.retention.time=10y", *options,
    ]  # fmt: skip
    server = Server(command, port, folder / "log")
    server.start()
    wait_until(lambda: is_ready(port), within_s=30, what="Prometheus is ready")
    return server


def is_ready(port: int) -> bool:
    """It listens before it has its data; asked for a password, it has."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status in {200, 401}
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture(scope="module")
def house() -> SimpleHouse:
    """A week around each change of the clocks, with two outages in spring."""
    spans = [
        (utc("2025-10-22T00:00"), utc("2025-10-29T00:00")),
        (utc("2026-03-24T00:00"), utc("2026-04-03T00:00")),
    ]
    return SimpleHouse(spans, [WITHIN_DAY, OVER_MIDNIGHT])


@pytest.fixture(scope="module")
def port(house: SimpleHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    needs("promtool")
    folder = tmp_path_factory.mktemp("years")
    fill(folder, house.lines())
    server = serve(folder)
    yield server.port
    server.stop()


@pytest.fixture
def report(tmp_path, capsys):
    """Run `heating report` with a configuration; gives what it printed."""

    def run(port: int, *words: str, table: str = "") -> str:
        config = tmp_path / "config.toml"
        config.write_text(f"[report]\n{ZONE}{table}")
        at = f"http://127.0.0.1:{port}"
        assert main(["report", *words, "--prometheus", at, "--config", str(config)]) == 0
        return capsys.readouterr().out

    return run


def rows(text: str) -> dict[str, dict[str, str]]:
    return {row["Date"]: row for row in csv.DictReader(io.StringIO(text))}


def test_a_day_is_right_to_a_tenth_also_when_the_clocks_change_and_within_an_outage(report, house, port):
    for first, last in (("2025-10-23", "2025-10-27"), ("2026-03-25", "2026-03-30")):
        said = json.loads(report(port, "daily", "--from", first, "--to", last, "--format", "json"))
        for row in said["rows"]:
            assert row["energy_kwh"] == pytest.approx(house.day_kwh(row["name"]), abs=0.1)
            assert row["status"] == "OK"
        assert [row["name"] for row in said["rows"]] == list(days(first, last))
    assert {row["name"]: row["gap_h"] for row in said["rows"]}[OUTAGE_DAY] == 3.0


def test_the_days_on_which_the_clocks_change_have_23_and_25_hours(house):
    """The truth itself: it would be no truth with 24."""
    assert berlin_midnight_s("2026-03-30") - berlin_midnight_s("2026-03-29") == 23 * 3600
    assert berlin_midnight_s("2025-10-27") - berlin_midnight_s("2025-10-26") == 25 * 3600


def test_what_was_used_over_an_unknown_midnight_is_in_no_day_and_said(report, house, port):
    said = report(port, "daily", "--from", "2026-03-30", "--to", "2026-04-01", "--format", "csv")
    made = rows(said)
    assert {day: row["Status"] for day, row in made.items()} == {
        "2026-03-30": "OK", "2026-03-31": "PARTIAL", "2026-04-01": "PARTIAL",
    }  # fmt: skip
    missing = house.counts[OVER_MIDNIGHT.to_s] - house.counts[OVER_MIDNIGHT.from_s]
    measured = float(made["2026-03-31"]["Daily_kWh"]) + float(made["2026-04-01"]["Daily_kWh"])
    truth = house.day_kwh("2026-03-31") + house.day_kwh("2026-04-01")
    assert measured == pytest.approx(truth - missing, abs=0.2)
    table = report(port, "daily", "--from", "2026-03-30", "--to", "2026-04-01")
    assert f"{missing:.1f} kWh were used where it is not known in which day" in table


def test_degree_days_heat_cop_and_cost(report, house, port):
    table = "[[report.price]]\nper_kwh = 0.25\n[[report.price]]\nfrom = 2026-03-28\nper_kwh = 0.5\n"
    words = ("daily", "--from", "2026-03-25", "--to", "2026-03-28", "--format", "json")
    by_day = {row["name"]: row for row in json.loads(report(port, *words, table=table))["rows"]}
    for day in ("2026-03-25", "2026-03-27", "2026-03-28"):
        row, mean = by_day[day], house.day_mean_celsius(day)
        assert row["outdoor_celsius"] == pytest.approx(mean, abs=0.05)
        assert row["degree_days"] == pytest.approx(20 - mean, abs=0.05)
        assert row["thermal_kwh"] == pytest.approx(house.day_heat_kwh(day), rel=0.01)
        assert row["cop"] == pytest.approx(house.day_heat_kwh(day) / house.day_kwh(day), rel=0.01)
    assert by_day["2026-03-27"]["cost"] == pytest.approx(by_day["2026-03-27"]["energy_kwh"] * 0.25)
    assert by_day["2026-03-28"]["cost"] == pytest.approx(by_day["2026-03-28"]["energy_kwh"] * 0.5)
    assert by_day[OUTAGE_DAY]["degree_days"] is None, "three hours of its temperature are missing"


def test_a_month_has_what_no_day_has(report, house, port):
    said = json.loads(report(port, "monthly", "--from", "2026-03", "--to", "2026-04", "--format", "json"))
    assert [(row["name"], row["status"]) for row in said["rows"]] == [
        ("2026-03", "PARTIAL"),
        ("2026-04", "PARTIAL"),
    ]
    assert said["total"]["energy_kwh"] == pytest.approx(
        house.counts[utc("2026-04-03T00:00")] - house.counts[utc("2026-03-24T00:00")], abs=0.1
    )


def test_days_without_readings_say_so(report, port):
    said = report(port, "daily", "--from", "2026-03-22", "--to", "2026-03-24", "--format", "csv")
    assert said.splitlines()[:2] == [
        "Date,Start_kWh,End_kWh,Daily_kWh,Avg_Outdoor_Temp_C,Status,Cost,Degree_Days_K,Thermal_kWh,COP,Gap_h",
        "2026-03-22,N/A,N/A,N/A,N/A,NO_DATA,N/A,N/A,N/A,N/A,24.0",
    ]
    assert rows(said)["2026-03-24"]["Status"] == "PARTIAL"


def test_a_picture_and_bars(report, port, tmp_path):
    words = ("daily", "--from", "2026-03-25", "--to", "2026-03-30")
    report(port, *words, "--plot", str(tmp_path / "march.svg"))
    assert (tmp_path / "march.svg").read_text().count("<rect") == 1 + 6
    assert report(port, *words, "--plot").count("█") > 6


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--meter", "wp"], "no meter 'wp' has readings in this time: those found are meter"),
        (["--outdoor", "attic"], "no outdoor sensor 'attic' has readings in this time: temp_outdoor"),
        (
            ["--from", "2024-01-01", "--to", "2024-01-31"],
            "no meter has readings in this time: there is neither meter_energy_total_kwh nor meter_energy_import_total_kwh",
        ),
        (["--from", "2026-04-02"], "--from 2026-04-02 is after --to 2026-03-26"),
        (["--plot", "march.png"], "--plot: expected a file that ends in .svg, got 'march.png'"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(words, says, port, tmp_path, capsys):
    given = ["report", "daily", "--to", "2026-03-26", *words, "--prometheus", f"http://127.0.0.1:{port}"]
    assert main([*given, "--config", str(tmp_path / "none.toml")]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert says in line


def test_no_prometheus_there_is_said_with_what_to_try(tmp_path, capsys):
    at = f"http://127.0.0.1:{free_port()}"
    assert main(["report", "daily", "--prometheus", at, "--config", str(tmp_path / "none.toml")]) == 1
    assert capsys.readouterr().err.startswith(f"no Prometheus answers at {at}: ")


def test_a_wrong_time_zone_is_one_line(tmp_path, capsys):
    (config := tmp_path / "config.toml").write_text('[report]\ntimezone = "Mars/Base"\n')
    assert main(["report", "daily", "--config", str(config)]) == 2
    assert capsys.readouterr().err.startswith(
        f'{config}: report.timezone: expected a name like "Europe/Berlin"'
    )


def test_a_password_from_a_file_as_the_bridge_has_it(tmp_path, capsys):
    (web := tmp_path / "web.yml").write_text(
        "basic_auth_users: {me: $2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a}\n"
    )
    (password := tmp_path / "password").write_text("wrong")
    (tmp_path / "data").mkdir()
    server = serve(tmp_path, f"--web.config.file={web}")
    try:
        (config := tmp_path / "config.toml").write_text(
            f'[[remote_write]]\nurl = "http://127.0.0.1:{server.port}/api/v1/write"\n'
            'username = "me"\npassword_file = "password"\n'
        )
        assert main(["report", "daily", "--config", str(config)]) == 1
        assert "wants a password" in capsys.readouterr().err
        password.write_text("secret")
        assert main(["report", "daily", "--config", str(config)]) == 1
        assert "no meter has readings in this time" in capsys.readouterr().err
    finally:
        server.stop()


def test_across_a_replaced_meter_the_count_goes_on(report, tmp_path):
    """Registers of the simulated meter, through the poller's filters: the new one begins at 0."""
    start_s, replaced_s = utc("2026-01-09T22:00"), utc("2026-01-10T12:00")
    history = History(
        start_s=start_s,
        end_s=utc("2026-01-11T01:00"),
        step_s=300,
        replacements=(Replacement(replaced_s, "07654321"),),
    )
    (tmp_path / "data").mkdir()
    server = serve(tmp_path)
    try:
        truth: dict[int, float] = {}
        send(server.port, remember(history, truth))
        said = report(server.port, "daily", "--from", "2026-01-10", "--to", "2026-01-10", "--format", "csv")
    finally:
        server.stop()
    row = rows(said)["2026-01-10"]
    assert row["Status"] == "OK"
    # What the registers themselves counted; what the old one counted after its last reading nobody knows.
    old = max(at for at in truth if at < replaced_s)
    midnights = (utc("2026-01-09T23:00"), utc("2026-01-10T23:00"))
    used = truth[old] - truth[midnights[0]] + truth[midnights[1]]
    assert truth[midnights[1]] < 20 < truth[old], "there are two meters"
    assert float(row["Daily_kWh"]) == pytest.approx(used, abs=0.3)


def test_a_meter_that_counts_only_what_it_takes(report, tmp_path):
    """The import counts where there is no total; with the change from one to the other the count falls once."""
    needs("promtool")
    house = SimpleHouse([(utc("2026-02-01T22:00"), utc("2026-02-05T02:00"))])
    changed_s = utc("2026-02-02T12:00")

    def lines() -> Iterator[str]:
        later = ["# TYPE meter_energy_import_total_kwh gauge"]
        for line in house.lines():
            name, _, rest = line.partition("{")
            if name == "meter_energy_total_kwh" and int(line.split()[-1]) >= changed_s:
                count, at = rest.split()[1:]
                later.append(f'meter_energy_import_total_kwh{{device="meter"}} {float(count) - 500} {at}')
            elif line != "# EOF":
                yield line
        yield from (*later, "# EOF")

    fill(tmp_path, lines())
    server = serve(tmp_path)
    try:
        said = report(server.port, "daily", "--from", "2026-02-02", "--to", "2026-02-04", "--format", "csv")
        later = report(server.port, "daily", "--from", "2026-02-04", "--to", "2026-02-04", "--format", "csv")
    finally:
        server.stop()
    assert [row["Status"] for row in rows(said).values()] == ["FELL", "OK", "OK"]
    for day in ("2026-02-03", "2026-02-04"):
        assert float(rows(said)[day]["Daily_kWh"]) == pytest.approx(house.day_kwh(day), abs=0.1)
    assert rows(later)["2026-02-04"] == rows(said)["2026-02-04"]


def remember(history: History, truth: dict[int, float]) -> Iterator[Sample]:
    """The samples as they are; and the count of the meter's own register at each time, kWh."""
    for sample in history.samples():
        if sample.series.name == "meter_energy_total_raw_kwh":
            truth[sample.timestamp_ms // 1000] = sample.value
        yield sample


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_years(report, tmp_path, capsys):
    """Every day of two years, to a tenth of a kilowatt hour: with the clocks changed five times, three outages, two new meters."""
    needs("promtool")
    house = SimpleHouse(
        [(utc("2024-03-14T00:00"), utc("2026-04-01T00:00"))],
        [
            WITHIN_DAY,
            Outage(utc("2025-06-10T05:00"), utc("2025-06-10T17:00")),
            # Over the hour that is left out in spring.
            Outage(utc("2025-03-30T00:20"), utc("2025-03-30T02:40")),
        ],
        [
            NewMeter(utc("2024-11-12T09:31"), "2", begins_at=0.0),
            # On the day with 25 hours, and it was used elsewhere before.
            NewMeter(utc("2025-10-26T13:02"), "3", begins_at=48211.3),
        ],
    )
    fill(tmp_path, house.lines())
    server = serve(tmp_path)
    try:
        words = ("daily", "--from", "2024-03-16", "--to", "2026-03-30", "--format", "json")
        said = json.loads(report(server.port, *words))["rows"]
    finally:
        server.stop()
    assert [row["name"] for row in said] == list(days("2024-03-16", "2026-03-30"))
    assert {row["status"] for row in said} == {"OK"}
    off = {row["name"]: abs(row["energy_kwh"] - house.day_kwh(row["name"])) for row in said}
    worst = max(off, key=off.__getitem__)
    with capsys.disabled():
        print(f"\n{len(off)} days, at most {off[worst]:.3f} kWh from the truth, on {worst}")
    assert off[worst] < 0.1
