"""The page for people: server-made HTML that reloads its own middle."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from hashlib import sha256
from html import escape

from bridge.cards import Moment, draw_card
from bridge.figures import show_age, show_bytes, show_count, show_number
from bridge.latest import DeviceView, PollerView, Snapshot
from bridge.status import BridgeStatus, DeviceBacklog
from bridge.style import ICONS, SCRIPT, STYLE
from bridge.trace import Point
from bridge.verdict import Verdict, judge_completeness
from readings.health import Health
from readings.reading import DeviceKey, Kind

_LARGE = (Kind.METER, Kind.HEATPUMP)


_POLLER_COUNTS = (
    ("poller_journal_rows", "reading in its journal", "readings in its journal"),
    (
        "poller_readings_rejected_total",
        "reading held back or rejected as implausible",
        "readings held back or rejected as implausible",
    ),
    (
        "poller_request_failures_total",
        "request without a usable answer",
        "requests without a usable answer",
    ),
    ("poller_journal_failures_total", "commit that the disk refused", "commits that the disk refused"),
)


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; connect-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content security policy: this page's own style and script and nothing else."""

_FAVICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' height='32'"
    " rx='9' fill='%23d9480f'/%3E%3Cpath d='M16 5c1 5 6 7 6 13a6 6 0 0 1-12 0c0-3 2-4 2-7 2 1 3 3 3 5 1-3 2-6 1-11z'"
    " fill='white'/%3E%3C/svg%3E"
)


def render_page(
    seen: Snapshot,
    history: Mapping[DeviceKey, Mapping[str, Sequence[Point]]],
    status: BridgeStatus,
    *,
    title: str,
    version: str,
    moment: Moment,
    zone: tzinfo,
) -> str:
    """The whole document."""
    verdict = judge_completeness(
        status,
        known=len(seen.devices),
        absent=[_title(one) for one in seen.devices if one.absence is not None],
        now_ms=moment.now_ms,
        zone=zone,
    )
    large = [one for one in seen.devices if one.key.kind in _LARGE]
    small = [one for one in seen.devices if one.key.kind not in _LARGE]
    cards = "".join(
        f'<div class="grid {css}">{"".join(draw_card(one, history.get(one.key, {}), moment) for one in some)}</div>'
        for css, some in (("large", large), ("small", small))
        if some
    )
    short = verdict.headline.partition(":")[0]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>{escape(title)} · {escape(short)}</title><link rel="icon" href="{_FAVICON}">'
        f'<noscript><meta http-equiv="refresh" content="30"></noscript><style>{STYLE}</style></head>\n'
        f'<body><header class="top"><h1 dir="auto">{escape(title)}</h1>'
        '<p id="lost" role="status" hidden>The bridge does not answer; these are old readings.</p></header>\n'
        f"<main>{_verdict(verdict)}\n"
        f'<section aria-label="Devices">{cards or _EMPTY}</section>\n'
        f"{_works(seen.pollers, status, moment)}</main>\n"
        f"<footer><p>Heating bridge {escape(version)}</p></footer><script>{SCRIPT}</script></body></html>\n"
    )


_EMPTY = '<p class="empty">As soon as a poller announces its devices on the broker, they appear here by themselves.</p>'


def _title(device: DeviceView) -> str:
    title = "" if device.info is None else device.info.title.strip()
    return title or device.key.name


def _verdict(verdict: Verdict) -> str:
    return (
        f'<section class="verdict {verdict.tone}" aria-labelledby="verdict">{ICONS[verdict.tone]}'
        f'<div><h2 id="verdict">{escape(verdict.headline)}</h2><p>{escape(verdict.detail)}</p></div></section>'
    )


def _works(pollers: Iterable[PollerView], status: BridgeStatus, moment: Moment) -> str:
    """How the readings travel, and what each part of the way says."""
    parts = [
        *(_poller(one, moment) for one in pollers),
        _part(
            "Broker",
            "off" if status.broker_trouble else "on",
            "not connected" if status.broker_trouble else "connected",
            [status.broker_trouble],
        ),
        _store(status, moment),
        _receiver(status, moment),
    ]
    return (
        '<section class="works" aria-labelledby="works"><h2 id="works">How the readings travel</h2>'
        f'<div class="grid parts">{"".join(parts)}</div>'
        '<nav aria-label="For machines"><a href="/metrics">/metrics</a> <a href="/-/healthy">/-/healthy</a>'
        ' <a href="/-/ready">/-/ready</a></nav></section>'
    )


def _part(name: str, css: str, word: str, lines: Iterable[str]) -> str:
    text = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    return (
        f'<div class="part"><header><h3 dir="auto">{escape(name)}</h3>'
        f'<p class="status {css}">{escape(word)}</p></header>{text}</div>'
    )


def _poller(poller: PollerView, moment: Moment) -> str:
    css, word = {True: ("on", "online"), False: ("off", "offline"), None: ("wait", "unknown")}[
        poller.is_online
    ]
    lines = (
        [] if poller.health is None else list(_report(poller.health, moment, runs=poller.is_online is True))
    )
    return _part("Poller" if poller.name == "poller" else f"Poller {poller.name}", css, word, lines)


def _report(health: Health, moment: Moment, *, runs: bool) -> Iterator[str]:
    # At every start an energy count's first readings wait for each other: no news.
    told = {
        name: [one.value for one in samples if one.labels.get("reason") != "first"]
        for name, samples in health.metrics.items()
    }
    total = {name: sum(values) for name, values in told.items() if values}
    started = total.get("poller_start_time_seconds")
    since = f", runs for {show_age(moment.now_ms / 1000 - started)}" if runs and started else ""
    yield f"Version {health.version}{since}"
    if total.get("poller_clock_trusted") == 0:
        yield "Its clock is not trusted yet: readings are shown, and stored once their time is known"
    for name, one, many in _POLLER_COUNTS:
        if name in total and (total[name] or name == "poller_journal_rows"):
            yield show_count(total[name], one, many)


def _store(status: BridgeStatus, moment: Moment) -> str:
    if status.store_trouble:
        return _part("Store", "off", "in trouble", [status.store_trouble])
    behind = [
        f"{key}: {', '.join(words)}"
        for key, one in sorted(status.devices.items())
        if (words := list(_behind(one, moment)))
    ]
    return _part("Store", "on", "works", [show_bytes(status.store_bytes), *behind])


def _behind(backlog: DeviceBacklog, moment: Moment) -> Iterator[str]:
    """What of one device is not with the receiver, and for how long."""
    for number, what in (
        (backlog.waiting, "wait"),
        (backlog.missing, "not here yet"),
        (backlog.given_up, "lost before they came here"),
        (backlog.parked, "ahead of this clock"),
        (backlog.quarantined, "values refused"),
        (backlog.unreadable, "for a newer bridge"),
    ):
        if number:
            yield f"{show_number(number, 0)} {what}"
    if backlog.oldest_waiting_ms is not None:
        yield f"the oldest of {show_age((moment.now_ms - backlog.oldest_waiting_ms) / 1000)} ago"


def _receiver(status: BridgeStatus, moment: Moment) -> str:
    if not status.receiver:
        return _part("Prometheus", "idle", "not configured", ["Readings can be scraped from /metrics."])
    said = f"Last answer: {status.last_answer}" if status.last_answer else ""
    if status.last_sent_ms is None:
        return _part("Prometheus", "wait", "nothing sent yet", [said, status.receiver])
    sent = f"Last sent {show_age((moment.now_ms - status.last_sent_ms) / 1000)} ago"
    css, word = ("wait", "readings wait") if status.waiting else ("on", "up to date")
    return _part("Prometheus", css, word, [sent, said, status.receiver])
