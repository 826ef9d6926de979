"""One device on the page: what people want to see of it first, and the rest on request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from bridge.charts import Line, choose_scale, choose_span, draw_lines, draw_strip
from bridge.faces import ALARMS, FACES, Face
from bridge.figures import Figure, name_field, show_age, show_large, show_number, show_value
from bridge.latest import SILENT_INTERVALS, Absence, DeviceView
from bridge.trace import RESOLUTION_S, Point
from readings.payload import FieldInfo
from readings.vocabulary import VOCABULARY

History = Mapping[str, Sequence[Point]]


_ABSENCES: Mapping[Absence, str] = {
    Absence.UNANNOUNCED: "Readings come, but no poller has said yet what they are.",
    Absence.POLLER_GONE: "The poller that reads it is not connected. It goes on by itself once the poller is back.",
    Absence.LOST: "It does not answer. Check its power and its cable; the poller keeps trying.",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """The page's instant on both clocks."""

    now_ms: int
    now: float


def draw_card(device: DeviceView, history: History, moment: Moment) -> str:
    """A device as an article."""
    face = FACES[device.key.kind]
    card = _Card(device, moment)
    title = device.info.title if device.info is not None else ""
    title = title.strip() or device.key.name
    anchor = f"{device.key.kind}-{device.key.name}"
    body = card.absence() if device.absence is not None else card.readings(face)
    css, status = card.status()
    return (
        f'<article class="card {device.key.kind}" id="{anchor}" aria-labelledby="{anchor}-title">'
        f'<header><p class="kind">{face.name}</p><p class="status {css}">{escape(status)}</p></header>'
        f'<h3 id="{anchor}-title" dir="auto">{escape(title)}</h3>'
        f"{body}{draw_history(device, face, history, moment)}{card.details(anchor)}</article>"
    )


def draw_history(device: DeviceView, face: Face, history: History, moment: Moment) -> str:
    """The chart of the last hours with what its axes say; nothing where there is nothing to draw."""
    if device.info is None:
        return ""
    charted = [name for name in face.lines if history.get(name) and name in device.info.fields]
    lines = [
        (name, Line(history[name], css)) for name, css in zip(charted, ("first", "second"), strict=False)
    ]
    if not lines:
        return ""
    strip = history.get(face.strip, ())
    span = choose_span([*(line.points for _, line in lines), strip])
    interval_s = max(device.info.interval, *(device.info.fields[name].interval for name, _ in lines))
    gap = 3 * max(interval_s, RESOLUTION_S)
    kind = device.key.kind
    lead = device.info.fields[lines[0][0]]
    row = VOCABULARY[kind][lines[0][0]]
    values = [point.value for _, line in lines for point in line.points if point.age_s <= span]
    # Once where both read the same.
    ends = dict.fromkeys(
        str(show_large(kind, row.name, lead, value, now_ms=moment.now_ms))
        for value in (min(values), max(values))
    )
    scale = choose_scale(
        [line for _, line in lines], least=10 ** (1 - row.decimals), with_zero=lead.kind == "power"
    )
    hours = "30 min" if span < 3600 else f"{span // 3600} h"
    names = [name_field(kind, name) for name, _ in lines]
    label = f"{' and '.join(names)}, last {hours}: {' to '.join(ends)}"
    drawn = draw_lines([line for _, line in lines], scale, span_s=span, gap_s=gap, label=label)
    if strip:
        on = f"When it was on, last {hours}: {name_field(kind, face.strip)}"
        drawn += draw_strip(strip, span_s=span, gap_s=gap, label=on)
    keys = [
        f'<span class="key {line.css}">{escape(name)}</span>'
        for name, (_, line) in zip(names, lines, strict=True)
    ]
    if strip:
        keys.append(f'<span class="key on">{escape(name_field(kind, face.strip))}</span>')
    legend = f'<p class="legend">{" ".join(keys)}</p>' if len(keys) > 1 else ""
    axis = (
        f'<figcaption><span>{hours} ago</span> <span class="range">{escape(" … ".join(ends))}</span>'
        " <span>now</span></figcaption>"
    )
    return f'<figure class="history">{legend}{drawn}{axis}</figure>'


class _Card:
    """What several parts of one card ask."""

    def __init__(self, device: DeviceView, moment: Moment) -> None:
        self._device = device
        self._kind = device.key.kind
        self._fields: Mapping[str, FieldInfo] = {} if device.info is None else device.info.fields
        self._moment = moment

    def status(self) -> tuple[str, str]:
        """Availability and age, with the CSS class of their colour."""
        device = self._device
        if device.absence is Absence.POLLER_GONE:
            return "off", "poller offline"
        if device.is_online is False or device.absence is Absence.LOST:
            return "off", "offline"
        word = "online" if device.is_online else "not known yet"
        if device.absence is not None:
            return "wait", word
        newest = max((device.measured.get(name, 0.0) for name in device.values), default=0.0)
        age = f"{show_age(self._moment.now - newest)} ago" if newest else "held"
        return ("on" if device.is_online else "wait"), f"{word} · {age}"

    def absence(self) -> str:
        """Why there are no values, in words."""
        return f'<p class="absence">{escape(self._absence())}</p>'

    def readings(self, face: Face) -> str:
        """The large figure, those below it, and what is on."""
        present = [name for name in face.figures if name in self._fields]
        lead = face.lead
        if lead not in self._fields:
            # A device of another poller with fields of its own: its first ones.
            present = list(self._device.values)[:7]
            if not present:
                return '<p class="absence">None of its fields has a value now.</p>'
            lead = present.pop(0)
        large = self._large(lead)
        flags = "".join(self._flag(name) for name in face.flags if name in self._device.values)
        code = self._device.values.get("error_code")
        if code:
            flags += f'<li class="alarm">Error code {show_number(code, 0)}</li>'
        figures = "".join(
            f"<div><dt>{escape(name_field(self._kind, name))}</dt><dd>{self._figure(name)}</dd></div>"
            for name in present
        )
        return (
            f'<p class="lead"><span class="what">{escape(name_field(self._kind, lead))}</span> {large}</p>'
            + (f'<ul class="flags">{flags}</ul>' if flags else "")
            + (f'<dl class="figures">{figures}</dl>' if figures else "")
        )

    def details(self, anchor: str) -> str:
        """Every field with its metrics, folded away."""
        if not self._fields:
            return ""
        rows = "".join(self._row(name) for name in self._fields)
        return (
            f'<details id="{anchor}-all"><summary id="{anchor}-summary">All {len(self._fields)} values</summary>'
            f'<div class="scroll"><table><thead><tr><th scope="col">Reading</th><th scope="col">Value</th></tr></thead>'
            f"<tbody>{rows}</tbody></table></div>{self._origin()}</details>"
        )

    def _absence(self) -> str:
        device = self._device
        if device.absence is Absence.CONTRACT and device.info is not None:
            return (
                f"It speaks contract {device.info.contract}, which this bridge does not know yet. "
                "Its readings are kept; update the bridge to see and send them."
            )
        if device.absence is not None and device.absence in _ABSENCES:
            return _ABSENCES[device.absence]
        if device.time_ms is None:
            return "No reading yet."
        age_s = (self._moment.now_ms - device.time_ms) / 1000
        if age_s < 0:
            return f"Its readings are dated {show_age(-age_s)} ahead: check the clocks of poller and bridge."
        return f"No reading for {show_age(age_s)}."

    def _show(self, name: str, *, large: bool) -> Figure:
        show = show_large if large else show_value
        return show(
            self._kind, name, self._fields[name], self._device.values[name], now_ms=self._moment.now_ms
        )

    def _large(self, name: str) -> str:
        if name not in self._device.values:
            return '<span class="number none">&ndash;</span>'
        figure = self._show(name, large=True)
        # The space is as wide as the type it stands in: the unit's.
        unit = f'<span class="unit">&nbsp;{escape(figure.unit)}</span>' if figure.unit else ""
        return f'<span class="number">{escape(figure.text)}{unit}</span>{self._held(name)}'

    def _figure(self, name: str) -> str:
        if name not in self._device.values:
            return '<span class="none">&ndash;</span>'
        return f"{escape(str(self._show(name, large=True)))}{self._held(name)}"

    def _held(self, name: str) -> str:
        if name not in self._device.held:
            return ""
        measured = self._device.measured.get(name)
        age = "held" if measured is None else f"{show_age(self._moment.now - measured)} old"
        return f' <span class="held">· {age}</span>'

    def _flag(self, name: str) -> str:
        value = self._device.values[name]
        label = escape(name_field(self._kind, name))
        if self._fields[name].kind != "bit":
            return f'<li class="word">{escape(str(self._show(name, large=False)))}{self._held(name)}</li>'
        if name in ALARMS and not value:
            return ""  # no news
        css = "off" if not value else "alarm" if name in ALARMS else "on"
        return f'<li class="{css}">{label} <b>{escape(str(self._show(name, large=False)))}</b>{self._held(name)}</li>'

    def _row(self, name: str) -> str:
        # A long name breaks at its underscores.
        metrics = "<br>".join(
            f"<code>{escape(series.name).replace('_', '_<wbr>')}</code>"
            for series in self._device.series.get(name, ())
        )
        value = (
            f"{escape(str(self._show(name, large=False)))}{self._held(name)}"
            if name in self._device.values
            else '<span class="none">no value</span>'
        )
        return f'<tr><th scope="row">{escape(name_field(self._kind, name))}<br>{metrics}</th><td>{value}</td></tr>'

    def _origin(self) -> str:
        info = self._device.info
        if info is None:
            return ""
        model = " ".join(part for part in (info.manufacturer, info.model) if part)
        return (
            f'<p class="origin">{escape(model)} · <code>{escape(str(self._device.key))}</code>'
            f" · silent after {escape(show_age(SILENT_INTERVALS * info.interval))} · read by {escape(info.poller)}</p>"
        )
