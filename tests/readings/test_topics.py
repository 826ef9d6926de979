"""Topics are built and taken apart by the same scheme."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readings.errors import TopicError
from readings.reading import DeviceKey, Kind
from readings.topics import DeviceTopic, Leaf, Program, ProgramLeaf, ProgramTopic, Topics

devices = st.builds(DeviceKey, st.sampled_from(Kind), st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True))
roots = st.sampled_from(["heating", "home/heating", "Häuschen"])


@given(roots, devices, st.sampled_from(Leaf))
def test_a_devices_topic_comes_apart_as_it_was_built(root, key, leaf):
    topics = Topics(root)
    assert topics.parse(topics.device(key, leaf)) == DeviceTopic(key, leaf)


@pytest.mark.parametrize("program", Program)
@pytest.mark.parametrize("leaf", ProgramLeaf)
def test_a_programs_topic_comes_apart_as_it_was_built(program, leaf):
    topics = Topics("heating")
    assert topics.parse(topics.program(program, "main", leaf)) == ProgramTopic(program, "main", leaf)


@pytest.mark.parametrize(
    "topic",
    [
        "heating/meter/wp",
        "heating/meter/wp/state/more",
        "heating/kettle/wp/state",
        "heating/meter/Wärmepumpe/state",
        "heating/meter/wp/status",
        "heating/poller/main/state",
        "heating/poller/Main/health",
        "other/meter/wp/state",
        "heatingmeter/wp/state",
        "",
    ],
)
def test_what_is_not_ours_is_refused(topic):
    with pytest.raises(TopicError):
        Topics("heating").parse(topic)


@pytest.mark.parametrize("root", ["", "/heating", "heating/", "a//b", "heat+ing", "#", "$SYS"])
def test_a_root_that_cannot_be_is_refused(root):
    with pytest.raises(TopicError, match="root"):
        Topics(root)


@pytest.mark.parametrize("name", ["", "Wago", "wä", "a/b", "a b", "+"])
def test_a_device_name_that_cannot_be_is_refused(name):
    with pytest.raises(TopicError, match="device name"):
        DeviceKey(Kind.METER, name)


def test_a_program_name_that_cannot_be_is_refused():
    with pytest.raises(TopicError, match="poller name"):
        Topics("heating").program(Program.POLLER, "a/b", ProgramLeaf.HEALTH)
