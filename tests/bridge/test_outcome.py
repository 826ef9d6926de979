"""What an answer means, as a table."""

import pytest

from bridge.remote_write.outcome import Misconfigured, Refused, RetryAfter, Sent, TooLarge, judge, retry_after

NOW_S = 1_795_406_706.0  # 2026-11-23T04:05:06Z


@pytest.mark.parametrize(
    ("status", "headers", "body", "meaning"),
    [
        (200, {}, b"", Sent()),
        (204, {}, b"", Sent()),
        (302, {"location": "/login"}, b"", Misconfigured("302 (it points to /login)")),
        (500, {}, b"boom\n", RetryAfter("500: boom", is_open=True, is_failure=True)),
        (502, {}, b"", RetryAfter("502", is_open=True, is_failure=True)),
        (503, {}, b"Service Unavailable", RetryAfter("503: Service Unavailable", is_failure=True)),
        (503, {"retry-after": "2"}, b"", RetryAfter("503", 2.0, is_failure=True)),
        (429, {"retry-after": "Mon, 23 Nov 2026 04:05:36 GMT"}, b"", RetryAfter("429", 30.0)),
        (429, {"retry-after": "soon"}, b"", RetryAfter("429")),
        (408, {}, b"", RetryAfter("408", is_open=True, is_failure=True)),
        (400, {}, b"out of bounds", Refused("400: out of bounds")),
        (400, {}, b"out of order sample", Refused("400: out of order sample", is_repeat=True)),
        (400, {}, b"duplicate sample for timestamp", Refused("400: duplicate sample for timestamp", is_repeat=True)),
        (413, {}, b"", TooLarge("413")),
        (422, {}, b"\xff", Refused("422: \ufffd")),
    ],
)  # fmt: skip
def test_an_answer_means(status, headers, body, meaning):
    assert judge(status, headers, body, NOW_S) == meaning


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 407, 415])
def test_a_fault_of_the_configuration_drops_nothing(status):
    outcome = judge(status, {}, b"said the receiver", NOW_S)
    assert isinstance(outcome, Misconfigured)
    assert str(status) in outcome.reason
    assert "said the receiver" in outcome.reason


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("86400", 3600.0),
        ("-5", None),
        ("", None),
        ("1.5", None),
        ("²", None),
        ("Mon, 23 Nov 2026 04:05:16 GMT", 10.0),
        ("Sun, 22 Nov 2026 04:05:16 GMT", 0.0),
        ("Mon, 23 Nov 2099 04:05:16 GMT", 3600.0),
        ("Mon, 99 Nov 2026 04:05:16 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    assert retry_after(text, NOW_S) == seconds


@pytest.mark.parametrize(
    ("text", "is_repeat"),
    [
        ("out of order sample", True),
        ("duplicate sample for timestamp", True),
        (
            "failed pushing to ingester mimir-0: user=anonymous: the sample has been rejected because another sample"
            " with a more recent timestamp has already been ingested and out-of-order samples are not allowed"
            " (err-mimir-sample-out-of-order). The affected sample has timestamp 2025-10-27T09:01:20.626Z",
            True,
        ),
        (
            f"failed pushing to ingester {'mimir-' * 30}: the sample has been rejected because another sample with the"
            " same timestamp, but a different value, has already been ingested (err-mimir-sample-duplicate-timestamp)",
            True,
        ),
        ("the sample has been rejected because its timestamp is too old (err-mimir-sample-timestamp-too-old)", False),
        ("out of bounds", False),
    ],
)  # fmt: skip
def test_already_there_is_told_from_what_the_receiver_says(text, is_repeat):
    outcome = judge(400, {}, text.encode(), NOW_S)
    assert isinstance(outcome, Refused)
    assert outcome.is_repeat is is_repeat


def test_a_long_text_is_cut():
    assert len(judge(400, {}, b"x" * 10_000, NOW_S).reason) < 400
