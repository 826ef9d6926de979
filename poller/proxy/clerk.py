"""What becomes of a request before it reaches the bus: most that cannot go there is answered here."""

from collections.abc import Callable, Sequence

from poller.blocks import RegisterBlock
from poller.errands import Outcome, Result
from poller.proxy.frames import Query
from poller.proxy.rules import Address, WriteRule, judge_write
from poller.request import NO_PATH, IllegalRequestError, Request, answer_read, parse_request, refusal

BROADCAST = 0
"""A request to everybody has no answer, and writes where nobody allowed it."""


def handle(
    query: Query,
    source: Address,
    rules: Sequence[WriteRule],
    recall: Callable[[int, RegisterBlock], Sequence[int] | None],
) -> Outcome | Request:
    """Answer a request at once, or understand it, so that it can go to the bus.

    Args:
        query: What came.
        source: From whom.
        rules: What may be written.
        recall: The values of a unit's block, where they were read a moment ago.
    """
    function = query.pdu[0]
    try:
        request = parse_request(query.unit, query.pdu)
    except IllegalRequestError as error:
        return Outcome(refusal(function, error.code), Result.ILLEGAL)
    if request.unit == BROADCAST:
        return Outcome(refusal(function, NO_PATH), Result.ILLEGAL)
    if code := judge_write(rules, source, request):
        return Outcome(refusal(function, code), Result.FORBIDDEN)
    if request.reads is not None and request.writes is None:
        words = recall(request.unit, request.reads)
        if words is not None:
            return Outcome(answer_read(request, words), Result.RECENT)
    return request
