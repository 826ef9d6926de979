"""Values and times as people read them."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from readings.payload import FieldInfo
from readings.reading import Kind
from readings.vocabulary import VOCABULARY, Quantity

_NARROW_SPACE = "\u202f"
_MINUS = "\u2212"


@dataclass(frozen=True, slots=True)
class Figure:
    """A value's text and its unit, which may be empty."""

    text: str
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.text}\u00a0{self.unit}" if self.unit else self.text


def name_field(kind: Kind, field: str) -> str:
    """What people call a field; its own name when the vocabulary does not know it.

    >>> name_field(Kind.METER, "power_L1_kw"), name_field(Kind.METER, "water_level")
    ('Power L1', 'water level')
    """
    quantity = VOCABULARY[kind].get(field)
    return field.replace("_", " ") if quantity is None else quantity.short


def show_value(kind: Kind, field: str, info: FieldInfo, value: float, *, now_ms: int) -> Figure:
    """A value in its field's own unit, with the decimals that the vocabulary gives it.

    >>> power = FieldInfo(unit="kW", kind="power")
    >>> show_value(Kind.METER, "power_total_kw", power, 1.2, now_ms=0)
    Figure(text='1.200', unit='kW')
    >>> show_value(Kind.HEATPUMP, "compressor_running", FieldInfo(kind="bit"), 1, now_ms=0)
    Figure(text='on', unit='')
    """
    word = info.words.get(str(int(value))) if value == int(value) else None
    if word is not None:
        return Figure(word)
    if info.kind == "bit" and value in {0, 1}:
        return Figure("on" if value else "off")
    if info.unit == "s" and field.endswith("_timestamp"):
        return Figure(f"{show_age(now_ms / 1000 - value)} ago")
    return Figure(show_number(value, _decimals(VOCABULARY[kind].get(field))), info.unit)


def show_large(kind: Kind, field: str, info: FieldInfo, value: float, *, now_ms: int) -> Figure:
    """The same for a glance: power below a kilowatt in watts, above it with two decimals.

    >>> show_large(Kind.METER, "power_total_kw", FieldInfo(unit="kW", kind="power"), 0.046, now_ms=0)
    Figure(text='46', unit='W')
    """
    if info.kind == "power" and info.unit == "kW":
        if abs(value) < 0.9995:
            return Figure(show_number(value * 1000, 0), "W")
        return Figure(show_number(value, 2), "kW")
    return show_value(kind, field, info, value, now_ms=now_ms)


def show_number(value: float, decimals: int | None) -> str:
    """A number with narrow spaces between thousands and a true minus sign.

    >>> show_number(-12345.678, 2), show_number(-0.04, 1), show_number(0.125, None)
    ('\u221212\u202f345.68', '0.0', '0.125')
    """
    if decimals is None or abs(value) >= 1e12:
        text = f"{value:.6g}"
    else:
        # Adding zero turns the -0.0 that rounding makes into 0.0.
        text = f"{round(value, decimals) + 0.0:,.{decimals}f}".replace(",", _NARROW_SPACE)
    return text.replace("-", _MINUS)


def show_age(seconds: float) -> str:
    """How long ago, in the unit that fits.

    >>> [show_age(s).replace("\u00a0", " ") for s in (-1, 4.2, 100, 7000, 200_000)]
    ['0 s', '4 s', '2 min', '117 min', '56 h']
    """
    seconds = max(seconds, 0.0)
    if seconds < 99.5:
        return f"{seconds:.0f}\u00a0s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f}\u00a0min"
    if seconds < 3 * 86400:
        return f"{seconds / 3600:.0f}\u00a0h"
    return f"{seconds / 86400:.0f}\u00a0d"


def show_count(number: float, one: str, many: str) -> str:
    """A number of things.

    >>> show_count(1, "reading", "readings"), show_count(2300, "reading", "readings")
    ('1 reading', '2\u202f300 readings')
    """
    return f"{show_number(number, 0)} {one if number == 1 else many}"


def show_bytes(size: int) -> str:
    """A size on disk.

    >>> show_bytes(512), show_bytes(2_340_000)
    ('1 kB', '2.3 MB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(size, 1000) / 1e3:.0f} kB"


def show_clock(time_ms: int, now_ms: int, zone: tzinfo) -> str:
    """A time of day, with its day when that is another one.

    >>> show_clock(1_795_406_706_123, 1_795_406_800_000, UTC)
    '04:05'
    >>> show_clock(1_795_406_706_123, 1_795_500_000_000, UTC)
    '23 Nov, 04:05'
    >>> from zoneinfo import ZoneInfo
    >>> show_clock(-62_135_596_800_000, 0, ZoneInfo("America/New_York"))  # before the calendar begins there
    '1 Jan, 00:00'
    """
    then, now = (_at(one, zone) for one in (time_ms, now_ms))
    return f"{then:%H:%M}" if then.date() == now.date() else f"{then.day} {then:%b, %H:%M}"


def _at(time_ms: int, zone: tzinfo) -> datetime:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    try:
        return moment.astimezone(zone)
    except OverflowError:  # the calendar's first or last hours, which a state may claim
        return moment


def _decimals(quantity: Quantity | None) -> int | None:
    return None if quantity is None else quantity.decimals
