"""The page of an exporter: its samples, or one error with its reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.errors import PageError, PageTrouble
from poller.sources.exposition import LARGEST_BYTES, PageSample, parse_page
from tests.poller.pages import SENSORS

LINES = st.lists(
    st.one_of(
        st.text(alphabet='ab_{}=",\\ #\n\t1e+-.NaInf', max_size=30),
        st.sampled_from(
            ["# TYPE a gauge", "# HELP a", "#", "# TYPE a", 'a{b="c"} 1', "a 1 2", '{"a"} 1', "a 1 # {} 2"]
        ),
    ),
    max_size=6,
)


def test_samples_keep_name_labels_value_and_time():
    page = b'a{x="1",y="\\"ue"} 2.5\nb 3 1795406706123\n# EOF\n'
    assert parse_page(page) == [
        PageSample("a", {"x": "1", "y": '"ue'}, 2.5),
        PageSample("b", {}, 3, 1_795_406_706_123),
    ]


@pytest.mark.parametrize("text", ["1" + 400 * "0", "1e999", "+Inf"])
def test_a_number_beyond_all_numbers_is_infinite_or_no_page(text):
    """The filters know what to do with infinity; an integer of 400 digits is nothing that they expect."""
    try:
        (sample,) = parse_page(f"a {text}\n".encode())
    except PageError:
        return
    assert sample.value == float("inf")


def test_a_page_in_the_right_format_may_be_empty():
    assert parse_page(b"\n") == []


@pytest.mark.parametrize(
    ("page", "trouble"),
    [
        (b"", PageTrouble.NOT_METRICS),
        (b"<html><body>404 page not found</body></html>\n", PageTrouble.NOT_METRICS),
        (b'{"status": "ok"}\n', PageTrouble.NOT_METRICS),
        (b"not found\n", PageTrouble.NOT_METRICS),
        (b"a 1\nb\n", PageTrouble.NOT_METRICS),
        (b"a 1 NaN\n", PageTrouble.NOT_METRICS),
        (b'a{x="\xff"} 1\n', PageTrouble.NOT_METRICS),
        (b"\x1f\x8b\x08\x00\x00\n", PageTrouble.NOT_METRICS),
        (b'a{x="' + b"y" * 5000 + b'"} 1\n', PageTrouble.NOT_METRICS),
        (b"a 1\n" * (LARGEST_BYTES // 4 + 1), PageTrouble.TOO_LARGE),
    ],
    ids=["nothing", "html", "json", "words", "no-value", "no-time", "no-utf8", "gzip", "long-line", "large"],
)
def test_what_is_no_page_of_metrics_says_so(page, trouble):
    with pytest.raises(PageError) as caught:
        parse_page(page)
    assert caught.value.trouble is trouble


def test_a_page_that_is_cut_off_anywhere_shows_no_other_number():
    """21.5 cut to 2 would be believed: what a cut page shows stands on the whole page too."""
    whole = {(one.name, tuple(one.labels.items()), one.value) for one in parse_page(SENSORS.encode())}
    for end in range(len(SENSORS)):
        try:
            cut = parse_page(SENSORS[:end].encode())
        except PageError:
            continue
        assert {(one.name, tuple(one.labels.items()), one.value) for one in cut} <= whole


@given(st.one_of(st.binary(max_size=200), LINES.map(lambda lines: "\n".join([*lines, ""]).encode())))
def test_hostile_bytes_are_samples_or_one_error(body):
    try:
        parse_page(body)
    except PageError as error:
        assert "\n" not in str(error)  # noqa: PT017  # whether it is raised is the parser's choice
