"""One request and its answer at a time on a line: which of the bytes that come are the answer.

A stream brings answers in pieces, behind noise, behind late ones to earlier
requests, and from other units. Modbus TCP numbers its answers; RTU has only
unit, function and length to tell them apart by.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from poller.blocks import FailureReason
from poller.frames import Frame, FramingError, is_whole, rtu_frames, tcp_frame
from poller.line import Line
from poller.request import GATEWAY_CODES, Request
from poller.transport import ReadError
from poller.unanswered import Unanswered

MAX_UNANSWERED = 3
"""After so many requests in a row that nothing answered, the connection itself is doubted."""


@dataclass(frozen=True, slots=True)
class _Awaited:
    """The request whose answer is waited for.

    Attributes:
        is_ours: Whether the poller itself asked: then silence says something of the connection, and a late
            answer of the device.
    """

    request: Request
    timeout_s: float
    deadline: float
    is_ours: bool


class Exchange:
    """Sends a request and finds its answer: `begin`, `send`, `receive`, and `note_answered` if it was good.

    Args:
        line: The connection.
        is_rtu: Answers have no number; after a request of ours it listens on for as long again.
        count_sent: Called for every request that goes out.
        monotonic: Seconds of a clock that never jumps.
    """

    def __init__(
        self, line: Line, *, is_rtu: bool, count_sent: Callable[[], None], monotonic: Callable[[], float]
    ) -> None:
        self._line = line
        self._is_rtu = is_rtu
        self._count_sent = count_sent
        self._monotonic = monotonic
        self._awaited: _Awaited | None = None
        self._sent = b""
        self._hears_itself = False
        self._open = Unanswered()
        self._late: set[int] = set()
        self._unanswered = 0

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._line.is_connected

    def late_units(self) -> frozenset[int]:
        """The units that have answered too late since this was last asked."""
        late = frozenset(self._late)
        self._late.clear()
        return late

    def clear_at(self, request: Request) -> float:
        """From when on no late answer to an earlier request can be taken for this one's, monotonic seconds."""
        return self._open.clear_at(request)

    def close(self) -> None:
        """Let the connection go."""
        self._line.close()
        self._unanswered = 0

    def note_answered(self) -> None:
        """The answer was good."""
        self._unanswered = 0

    def begin(self, request: Request, timeout_s: float, *, is_ours: bool) -> None:
        """Have a connection with nothing left on it.

        Raises:
            ReadError: There is none (`UNREACHABLE`).
        """
        self._line.connect()
        if not self._clear_line():
            self.close()
            self._line.connect()
        self._awaited = _Awaited(request, timeout_s, self._monotonic() + timeout_s, is_ours)

    def send(self, data: bytes) -> None:
        """Send the request that was begun, in its framing.

        Raises:
            OSError: The connection is lost.
        """
        awaited = self._expected()
        self._count_sent()
        self._sent = data
        if self._is_rtu:
            self._open.note_sent(awaited.request, self._monotonic())
        self._line.send(data, awaited.timeout_s)

    def receive(self) -> bytes:
        """The whole answer in its framing.

        Raises:
            ReadError: None came in time, or only another unit's or one of another length.
            FramingError: What came is no answer.
            OSError: The connection is lost.
        """
        awaited = self._expected()
        return self._receive_rtu(awaited) if self._is_rtu else self._receive_tcp(awaited)

    def _clear_line(self) -> bool:
        """Take what came since the last answer; False when the connection is of no use any more."""
        try:
            self._line.take_waiting()
        except OSError:
            return False
        if not self._is_rtu:
            # Modbus TCP numbers its answers: a late one is passed over in its place.
            return True
        stray = bytes(self._line.buffer)
        self._line.buffer.clear()
        self._note_late(rtu_frames(stray))
        return is_whole(stray)

    def _receive_tcp(self, awaited: _Awaited) -> bytes:
        """Read answers until the one with the request's number comes."""
        number = int.from_bytes(self._sent[:2], "big")
        while True:
            frame = tcp_frame(bytes(self._line.buffer))
            if frame is None:
                if not self._line.fill(awaited.deadline):
                    if heard := bytes(self._line.buffer):
                        raise FramingError(f"only a piece of an answer: {heard[:32].hex(' ')}")
                    self._count_unanswered()
                    raise _no_answer(awaited)
                continue
            del self._line.buffer[: len(frame.data)]
            if frame.transaction != number:
                self._note_late([frame])
            elif frame.unit != awaited.request.unit:
                raise _wrong_unit(awaited, [frame])
            else:
                return frame.data

    def _receive_rtu(self, awaited: _Awaited) -> bytes:
        """Read until the awaited answer has come; else read on until it comes late or the line was quiet."""
        answer = self._find(awaited, awaited.deadline)
        if answer is not None:
            self._line.buffer.clear()
            return answer.data
        try:
            late = self._find(awaited, awaited.deadline + (awaited.timeout_s if awaited.is_ours else 0))
        except OSError as error:
            self.close()
            raise _no_answer(awaited) from error
        heard = self._heard(awaited.request)
        frames = list(rtu_frames(heard))
        self._note_late(frames)
        if late is not None:
            self._unanswered = 0
            raise ReadError(FailureReason.TIMEOUT, f"{awaited.request}: the answer came too late")
        if not is_whole(heard):
            raise FramingError(f"no whole answer in {heard[:32].hex(' ')}")
        self._count_unanswered()
        if any(one.unit == awaited.request.unit for one in frames):
            raise _short(awaited, frames)
        raise _wrong_unit(awaited, frames) if frames else _no_answer(awaited)

    def _find(self, awaited: _Awaited, deadline: float) -> Frame | None:
        """Read until the awaited answer is there, behind whatever came before it."""
        while True:
            frames = list(rtu_frames(self._heard(awaited.request)))
            for place, frame in enumerate(frames):
                if self._answers(frame, awaited.request):
                    self._note_late(frames[:place])
                    self._open.note_heard(frame.unit, frame.pdu)
                    return frame
            if not self._line.fill(deadline):
                return None

    def _heard(self, request: Request) -> bytes:
        """What came, without the request itself, which an adapter that hears itself brings back ahead of everything.

        That a write comes back is its very answer, so whether the adapter is of that kind only reads tell.
        """
        heard = bytes(self._line.buffer)
        if request.writes is None and len(heard) >= len(self._sent):
            self._hears_itself = heard.startswith(self._sent)
        return heard.removeprefix(self._sent) if self._hears_itself else heard

    def _answers(self, frame: Frame, request: Request) -> bool:
        """On RTU function and length tell an answer from a late one to an earlier request; a refusal has no length."""
        return (
            frame.unit == request.unit
            and request.is_answered_by(frame.pdu)
            and not self._open.may_refuse(request, frame.pdu, self._monotonic())
        )

    def _note_late(self, frames: Iterable[Frame]) -> None:
        for one in frames:
            self._open.note_heard(one.unit, one.pdu)
            if one.exception not in GATEWAY_CODES:
                self._late.add(one.unit)

    def _count_unanswered(self) -> None:
        self._unanswered += self._expected().is_ours
        if self._unanswered >= MAX_UNANSWERED:
            self.close()

    def _expected(self) -> _Awaited:
        if self._awaited is None:
            raise RuntimeError("a request is begun before it is sent")
        return self._awaited


def _no_answer(awaited: _Awaited) -> ReadError:
    return ReadError(FailureReason.TIMEOUT, f"{awaited.request}: no answer within {awaited.timeout_s:g} s")


def _short(awaited: _Awaited, frames: Iterable[Frame]) -> ReadError:
    got = ", ".join(str(one.payload_bytes) for one in frames)
    expected = f"{awaited.request.reads.answer_bytes} bytes" if awaited.request.reads else "the echo"
    return ReadError(FailureReason.SHORT, f"{awaited.request}: expected {expected}, got {got}")


def _wrong_unit(awaited: _Awaited, frames: Iterable[Frame]) -> ReadError:
    got = ", ".join(str(one.unit) for one in frames)
    return ReadError(
        FailureReason.WRONG_UNIT, f"{awaited.request}: unit {awaited.request.unit} was asked, got {got}"
    )
