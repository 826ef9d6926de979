"""`heating migrate`: the original system's readings under the names and labels of this one."""

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from heating.commands import Commands, add_config
from heating.errors import CommandError
from heating.migrate.blocks import Blocks, Made
from heating.migrate.look import Looked, look
from heating.migrate.sieve import Points
from heating.migrate.survey import Choice, survey
from heating.migrate.windows import windows
from heating.migrate.words import describe, invite, moment, needed_bytes
from heating.progress import Progress
from heating.report.prometheus import Prometheus
from heating.report.settings import read_settings
from readings.reading import Kind

HEAD_H = 4
"""After so long at most Prometheus has put what it was told into a block."""


def add(commands: Commands) -> None:
    """What `heating migrate` takes."""
    migrate = commands.add_parser(
        "migrate", help="bring the original system's readings under the names of this one"
    )
    what = migrate.add_mutually_exclusive_group()
    what.add_argument("--apply", action="store_true", help="do it; without this it only looks")
    what.add_argument("--undo", action="store_true", help="delete what was made")
    migrate.add_argument(
        "--join",
        action="store_true",
        help="also what has kept its name: wago_*, heatpump_*, sensor_*, thermostat_*",
    )
    migrate.add_argument(
        "--data", type=Path, metavar="FOLDER", help="Prometheus' own, its --storage.tsdb.path"
    )
    migrate.add_argument("--promtool", default="promtool", metavar="PROGRAM", help="else the one in the path")
    migrate.add_argument("--prometheus", metavar="URL", help="else where the bridge writes to")
    for kind in (Kind.METER, Kind.HEATPUMP, Kind.THERMOSTAT):
        migrate.add_argument(f"--{kind}", metavar="DEVICE", help="where there are several")
    migrate.add_argument(
        "--instance", metavar="LABEL", help="where several programs of the original showed the same"
    )
    add_config(migrate)
    migrate.set_defaults(do=_migrate)


def _migrate(options: argparse.Namespace) -> int:
    """Look, and do what was asked for."""
    if options.data is None and (options.apply or options.undo):
        raise CommandError("--data: expected the folder of Prometheus, its --storage.tsdb.path")
    blocks = None if options.data is None else Blocks(options.data, options.promtool)
    settings = read_settings(options.config, os.environ, prometheus=options.prometheus)
    try:
        with Prometheus(settings.server) as prometheus, Progress() as progress:
            if options.undo and blocks is not None:
                return _undo(prometheus, blocks)
            if options.apply and blocks is not None:
                if blocks.is_complete():
                    print("An earlier run made its blocks and was interrupted:")
                    return _put(blocks)
                blocks.check(0)
            began = time.monotonic()
            found = _look(prometheus, options, progress)
            if not found:
                print("Nothing is left to make.")
                return 0
            _check_earlier(blocks, found)
            wait = _say_when(prometheus, max(one.last_ms for one in found))
            if options.apply and blocks is not None:
                if wait is not None:
                    raise CommandError(wait)
                _make_all(prometheus, blocks, found, progress)
                return _put(blocks)
            print(
                wait or invite(time.monotonic() - began, is_joined=options.join, has_data=blocks is not None)
            )
            return 0
    except OSError as error:
        raise CommandError(f"{error.filename or options.data}: {error.strerror}") from error


def _look(prometheus: Prometheus, options: argparse.Namespace, progress: Progress) -> Sequence[Looked]:
    """Read everything once, and say what is there."""
    choice = Choice(
        {kind: name for kind in Kind if (name := getattr(options, kind.value, None))},
        options.instance,
        options.join,
    )
    seen = survey(prometheus, choice, time.time_ns() // 1_000_000)
    found = []
    for family in seen.families:
        looked = look(prometheus, family, partial(progress.show, what=family.title))
        progress.clear()
        if looked is not None and looked.made:
            print("\n".join(describe(looked)))
            found.append(looked)
        else:
            print(f"{family.title}: nothing lies before {moment(family.until_ms)}")
    print(*seen.notes, sep="\n", end="\n" if seen.notes else "")
    return found


def _say_when(prometheus: Prometheus, last_ms: int) -> str | None:
    """When it can be done; `None` for now.

    A block that reaches into what Prometheus has in its memory would have it forget that at its next start.
    """
    if (head_ms := prometheus.head_ms()) > last_ms:
        return None
    return (
        f"Prometheus has the time from {moment(head_ms)} on in its memory still: "
        f"try again {HEAD_H} hours after {moment(last_ms)}"
    )


def _check_earlier(blocks: Blocks | None, found: Sequence[Looked]) -> None:
    """A Prometheus that does not show yet what it was given would be given it again."""
    given = {
        one.selector: one.from_ms for record in (blocks.records() if blocks else ()) for one in record.made
    }
    for one in found:
        if given.get(one.family.made, one.family.until_ms) < one.family.until_ms:
            raise CommandError(
                f"{one.family.title}: was made already, and Prometheus does not show it. "
                "It looks for new blocks once a minute; its log says what is wrong with them"
            )


def _make_all(prometheus: Prometheus, blocks: Blocks, found: Sequence[Looked], progress: Progress) -> None:
    """Make every block, beside Prometheus' own."""
    blocks.check(needed_bytes(sum(one.made for one in found)))
    blocks.begin()
    blocks.complete(_make(prometheus, blocks, found, progress))
    progress.clear()


def _make(prometheus: Prometheus, blocks: Blocks, found: Sequence[Looked], progress: Progress) -> list[Made]:
    """Make them, window by window; gives what they hold."""
    sieves = [one.sieve() for one in found]
    spans: list[list[int]] = [[] for _ in found]
    pieces = list(windows(min(one.first_ms for one in found), max(one.family.until_ms for one in found)))
    for done, (start_ms, end_ms) in enumerate(pieces):
        progress.show(done, len(pieces), moment(start_ms))
        window = [
            one.again(prometheus, start_ms, end_ms, sieve) for one, sieve in zip(found, sieves, strict=True)
        ]
        for span, fields in zip(spans, window, strict=True):
            span += [time_ms for points in fields.values() for time_ms in (points[0][0], points[-1][0])]
        blocks.add(_series(found, window))
    return [
        Made(one.family.made, min(span), max(span), sieve.made)
        for one, sieve, span in zip(found, sieves, spans, strict=True)
    ]


def _series(
    found: Sequence[Looked], window: Sequence[Mapping[str, Points]]
) -> Iterator[tuple[str, Mapping[str, str], Points]]:
    for one, fields in zip(found, window, strict=True):
        for name, points in fields.items():
            yield f"{one.family.origin.new}_{name}", one.family.labels, points


def _put(blocks: Blocks) -> int:
    record = blocks.put()
    samples = sum(one.samples for one in record.made)
    print(
        f"{samples:,} samples in {len(record.blocks)} blocks are with Prometheus, which shows them within a minute."
    )
    return 0


def _undo(prometheus: Prometheus, blocks: Blocks) -> int:
    """Delete the samples, wherever Prometheus has merged them to."""
    records = blocks.records()
    if not records:
        raise CommandError("--undo: nothing was made here")
    for record in records:
        for made in record.made:
            is_shown = prometheus.stored(made.selector, made.from_ms, made.from_ms + 1)
            if blocks.are_separate(record) and not is_shown:
                raise CommandError("Prometheus does not show yet what was made: try again in a minute")
            prometheus.delete(made.selector, made.from_ms, made.to_ms)
            print(f"deleted {made.selector}, {moment(made.from_ms)} to {moment(made.to_ms)}")
    blocks.forget()
    return 0
