"""What the demo shows in the terminal: a line per reading, the addresses always below."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import TextIO

from readings.payload import Info
from readings.reading import DeviceKey, DeviceState, Kind
from readings.vocabulary import VOCABULARY

SHOWN = {
    Kind.METER: ("power_total_kw", "power_L1_kw", "power_L2_kw", "power_L3_kw", "energy_total_kwh"),
    Kind.HEATPUMP: (
        "flow_temperature_celsius",
        "return_temperature_celsius",
        "outdoor_temperature_celsius",
        "compressor_running",
        "operating_mode",
    ),
    Kind.SENSOR: ("temperature_celsius", "humidity_percent", "battery_percent"),
    Kind.THERMOSTAT: ("switch_state", "target_temperature_celsius", "current_temperature_celsius"),
}
"""What a line shows of a device; the page shows everything."""


def show_value(state: DeviceState, info: Info | None, kind: Kind, field: str) -> str:
    """One field as people read it: short name, value, unit.

    >>> show_value(DeviceState(0, "s", 1, {"power_total_kw": 1.2344}), None, Kind.METER, "power_total_kw")
    'Power 1.234 kW'
    """
    quantity = VOCABULARY[kind][field]
    value = state.values.get(field)
    if value is None:
        return f"{quantity.short} -"
    if quantity.kind == "bit":
        return f"{quantity.short} {'on' if value else 'off'}"
    words = info.fields[field].words if info and field in info.fields else {}
    text = words.get(f"{value:g}") or f"{value:.{quantity.decimals}f} {quantity.unit}".rstrip()
    return f"{quantity.short} {text}"


def show_state(key: DeviceKey, state: DeviceState, info: Info | None) -> str:
    """A state as one line of people's words, without its time."""
    title = info.title if info else key.name
    if state.is_lost:
        return f"{title:<18} cannot be read"
    fields = [field for field in SHOWN[key.kind] if field in state.values]
    return f"{title:<18} " + " · ".join(show_value(state, info, key.kind, field) for field in fields)


class Terminal:
    """Prints lines; on a real terminal the footer stays below them."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._footer: tuple[str, ...] = ()
        self._is_tty = out.isatty()
        self._lock = Lock()
        self._on_gone: Callable[[], None] = lambda: None

    def tell_when_gone(self, on_gone: Callable[[], None]) -> None:
        """Call this, from any thread, when nobody reads any more (`heating demo | head`)."""
        self._on_gone = on_gone

    def line(self, text: str) -> None:
        """Print a line."""
        with self._writing():
            self._erase()
            print(text, file=self._out)
            self._draw()

    def reading(self, key: DeviceKey, state: DeviceState, info: Info | None, now: datetime) -> None:
        """Print a device's readings."""
        self.line(f"{now:%H:%M:%S}  {show_state(key, state, info)}")

    def keep_below(self, footer: Iterable[str]) -> None:
        """Lines that stay below everything else, and are printed again at the end."""
        with self._writing():
            self._erase()
            self._footer = tuple(footer)
            if not self._is_tty:
                print(*self._footer, sep="\n", file=self._out)
            self._draw()

    def close(self) -> None:
        """The footer is the last that is seen."""
        with self._writing():
            if not self._is_tty:
                print(*self._footer, sep="\n", file=self._out)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
                self._out.flush()
            except BrokenPipeError:
                # What is still in the buffer goes nowhere; else Python would complain of it at its end.
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._out.fileno())
                os.close(nowhere)
                self._on_gone()

    def _erase(self) -> None:
        if self._is_tty and self._footer:
            print(f"\x1b[{len(self._footer)}F\x1b[J", end="", file=self._out)

    def _draw(self) -> None:
        if self._is_tty and self._footer:
            print(*self._footer, sep="\n", file=self._out)
