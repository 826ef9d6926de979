"""A source that reads the page of another program at an interval."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from poller.assemble import Report, Stamped
from poller.device import Device
from poller.errors import PageError, PageTrouble
from poller.sources.exporter import Exporter, ImportSettings
from poller.sources.exposition import parse_page
from poller.sources.fetch import fetch_page
from poller.sources.heard import Heard
from readings.health import Tally
from readings.reading import DeviceKey, Value

_log = logging.getLogger(__name__)

LONGEST_WAIT_S = 10.0


class Imported:
    """Reads one page, one request at a time, in a thread of its own.

    A read that failed is repeated after a quarter of the interval, so that one
    failure does not make two intervals without a reading.

    Args:
        settings: Which page, and what to make of it.
        tally: Counts its reads by what came of them.
        fetch: Reads a page within so many seconds; `PageError` when it cannot.
        monotonic: Seconds of a clock that never jumps.
    """

    filters: Sequence[str] = ()
    """It hears no messages; only its memory is a message source's."""

    def __init__(
        self,
        settings: ImportSettings,
        tally: Tally,
        *,
        fetch: Callable[[str, float], bytes] = fetch_page,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._tally = tally
        self._fetch = fetch
        self._monotonic = monotonic
        self._exporter = Exporter(settings)
        self._exporting = threading.Lock()
        self.name = f"import {settings.page}"
        self._trouble: PageTrouble | None = None
        self._last: dict[DeviceKey, tuple[Mapping[str, Value | Stamped], float]] = {}

    @property
    def devices(self) -> Sequence[Device]:
        """Those that were on the page so far, also in earlier runs."""
        with self._exporting:
            return self._exporter.devices

    def restore(self, memory: bytes) -> None:
        """Know the devices of an earlier run, so that nobody takes them for gone until the page is read."""
        with self._exporting:
            self._exporter.restore(memory)

    def keep(self) -> bytes | None:
        """The devices for the next run."""
        with self._exporting:
            return self._exporter.keep()

    def hear(self, heard: Heard) -> tuple[()]:  # noqa: ARG002  # it has no filters
        """Nothing."""
        return ()

    def ask(self, now: float, connection: int) -> tuple[()]:  # noqa: ARG002  # other sources ask
        """Nothing."""
        return ()

    def run(self, emit: Callable[[Device, Report], None], wait: Callable[[float], bool]) -> None:
        """Read at once, then at every interval, until `wait` gives True."""
        interval_s = self._settings.interval_s
        while True:
            began = self._monotonic()
            is_read = self.look(emit)
            pause_s = began + interval_s - self._monotonic() if is_read else interval_s / 4
            if wait(max(pause_s, interval_s / 10)):
                return

    def look(self, emit: Callable[[Device, Report], None]) -> bool:
        """Read the page once and hand over what it says; say whether it could be read."""
        try:
            body = self._fetch(self._settings.url, min(LONGEST_WAIT_S, self._settings.interval_s / 3))
            samples = parse_page(body)
            with self._exporting:
                found = self._exporter.read(samples)
        except PageError as error:
            self._note(error.trouble, str(error))
        except Exception as error:  # noqa: BLE001  # the thread's outermost loop: its end would end the poller, and a heat pump may need that
            self._note(PageTrouble.MISTAKE, f"a mistake in this program: {error!r}")
        else:
            self._note(None, "")
            for device, report in found:
                emit(device, report)
                self._compare(device, report)
            return True
        return False

    def _compare(self, device: Device, report: Report) -> None:
        """Values without a time may be of any age; how long they have been the same is all that can be known."""
        if any(isinstance(one, Stamped) for one in report.values.values()):
            return
        now = self._monotonic()
        values, since = self._last.get(device.key, (None, now))
        if values != report.values:
            since = now
        self._last[device.key] = report.values, since
        self._tally.set("poller_page_unchanged_seconds", now - since, device=device.key.name)

    def _note(self, trouble: PageTrouble | None, text: str) -> None:
        """Count what came of a read; log when that changes."""
        page = self._settings.page
        self._tally.count("poller_page_reads_total", page=page, result=trouble or "read")
        if trouble is not None and trouble is not self._trouble:
            _log.warning("import %s: cannot be read: %s", page, text)
        elif trouble is None and self._trouble is not None:
            _log.info("import %s: is read again", page)
        self._trouble = trouble
