"""What may still be answered late on a line whose answers have no number.

On RTU an answer names its unit and its function, and nothing else. A device
answers one request after the other, so what it answers is over, and so is
everything that it was asked before.
"""

from poller.request import Request, is_refusal

ANSWERS_WITHIN_S = 5.0
"""An answer that is later than this, counted from its request, is not to be expected any more."""


class Unanswered:
    """The requests of one line that nothing has answered yet, oldest first.

    >>> from poller.request import parse_request
    >>> read, write = (parse_request(7, bytes.fromhex(one)) for one in ("03 0002 0001", "06 0002 015e"))
    >>> line = Unanswered()
    >>> line.note_sent(read, 100.0)
    >>> line.clear_at(read), line.clear_at(write)
    (105.0, -inf)
    >>> line.note_heard(7, bytes.fromhex("03 02 015e"))
    >>> line.clear_at(read)
    -inf
    """

    def __init__(self) -> None:
        self._open: list[tuple[float, Request]] = []

    def note_sent(self, request: Request, now: float) -> None:
        """A request goes out."""
        self._open = [one for one in self._open if one[0] + ANSWERS_WITHIN_S > now]
        self._open.append((now, request))

    def note_heard(self, unit: int, pdu: bytes) -> None:
        """A whole answer came, in time or not: it is the oldest one's that it fits."""
        for place, (_, one) in enumerate(self._open):
            if one.unit == unit and one.is_answered_by(pdu):
                self._open = [
                    other for later, other in enumerate(self._open) if later > place or other[1].unit != unit
                ]
                return

    def clear_at(self, request: Request) -> float:
        """From when on no earlier request's answer can be taken for this one's; in the past if it is so now."""
        return max(
            (
                sent_at + ANSWERS_WITHIN_S
                for sent_at, one in self._open
                if one.unit == request.unit and one.function == request.function
            ),
            default=float("-inf"),
        )

    def may_refuse(self, request: Request, pdu: bytes, now: float) -> bool:
        """Whether this refusal may be that of another request than this one, which is the newest."""
        return is_refusal(pdu) and any(
            one.unit == request.unit
            and one.function == request.function
            and one.pdu != request.pdu
            and sent_at + ANSWERS_WITHIN_S > now
            for sent_at, one in self._open
        )
