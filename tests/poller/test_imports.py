"""`[[import]]` in the configuration file."""

from pathlib import Path

import pytest

from bridge.config import read_config as read_bridge_config
from poller.config import PollerSettings, read_config
from readings.errors import SettingsError
from readings.reading import Kind
from tests.poller.test_config import GOOD, write

WITHOUT_PUMP = GOOD[: GOOD.index('[[device]]\nname = "lg"')]
BOTH = """
[[import]]
url = "http://lg_r290_service:8000/metrics"
[[import]]
url = "http://iot-api:8000/metrics"
"""


def read(folder: Path, text: str) -> PollerSettings:
    return read_config(write(folder, text), {})


def refuse(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(folder, text)
    return str(caught.value).removeprefix(f"{folder / 'config.toml'}: ")


def test_two_lines_for_each_of_the_two_pages(tmp_path):
    pump, sensors = read(tmp_path, WITHOUT_PUMP + BOTH).imports
    assert (pump.url, pump.page, pump.interval_s, pump.silence_s) == (
        "http://lg_r290_service:8000/metrics",
        "lg_r290_service:8000",
        30,
        900,
    )
    assert [profile.name for profile in sensors.profiles] == [
        "wago-exporter",
        "lg-r290-control",
        "iot-api",
        "thermostat",
    ]
    assert pump.refused.keys() == sensors.refused.keys() == {Kind.METER}, "the meter is on the bus"


def test_the_bridge_reads_the_same_file(tmp_path):
    rule = '[[rule]]\nname = "x"\nkind = "sensor"\ntopic = "x/{device}"\n[rule.fields]\ntemperature_celsius = "t"\n'
    read(tmp_path, WITHOUT_PUMP + BOTH + rule)
    assert read_bridge_config(tmp_path / "config.toml", {}).name == "bridge"


def test_the_environment_may_say_where_a_page_is(tmp_path):
    path = write(tmp_path, WITHOUT_PUMP + BOTH)
    settings = read_config(path, {"HEATING_IMPORT__1__URL": "http://127.0.0.1:8001/metrics"})
    assert settings.imports[1].page == "127.0.0.1:8001"


EXPLAINED = (
    "device 'lg' reads the heat pump itself, and a gateway has one owner: keep lg-r290-control as it is and remove that"
    " [[device]], or remove this [[import]] and let lg-r290-control use the poller's proxy (docs/existing-system.md);"
    ' another heat pump needs names = { heatpump = "ITS-NAME" }'
)


@pytest.mark.parametrize("url", ["http://lg_r290_service:8000/metrics", "http://192.168.2.5:8002/metrics"])
def test_one_heat_pump_that_is_polled_and_imported_is_a_mistake_that_explains_the_choice(tmp_path, url):
    text = f'{GOOD}[[import]]\nurl = "http://iot-api:8000/metrics"\n[[import]]\nurl = "{url}"\n'
    assert refuse(tmp_path, text) == f"import[1].url: {EXPLAINED}"


def test_a_page_whose_address_does_not_show_it_is_refused_when_it_shows_a_heat_pump(tmp_path):
    (one,) = read(tmp_path, f'{GOOD}[[import]]\nurl = "http://192.168.2.5:9000/metrics"\n').imports
    assert one.refused[Kind.HEATPUMP] == EXPLAINED


def test_another_heat_pump_may_be_imported_under_a_name_of_its_own(tmp_path):
    text = (
        f'{GOOD}[[import]]\nurl = "http://lg_r290_service:8000/metrics"\nnames = {{ heatpump = "annex" }}\n'
    )
    (one,) = read(tmp_path, text).imports
    assert Kind.HEATPUMP not in one.refused
    assert "import[0].url" in refuse(tmp_path, text.replace("annex", "lg"))


def test_a_meter_that_is_polled_and_imported_is_a_mistake_too(tmp_path):
    text = f'{GOOD}[[import]]\nurl = "http://modbus_exporter:9100/metrics"\n'
    assert refuse(tmp_path, text).startswith(
        "import[0].url: device 'wp' reads the meter itself, and a gateway has one"
    )
    assert (
        not read(tmp_path, text + 'names = { meter = "annex", heatpump = "annex-pump" }\n').imports[0].refused
    )


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ('url = "iot-api:8000"', "import[0].url: expected http://HOST:PORT/metrics, got 'iot-api:8000'"),
        (
            'url = "http://me:pw@host/"',
            "import[0].url: expected http://HOST:PORT/metrics, got 'http://me:pw@host/'",
        ),
        ("interval = 5", "import[0].url: expected a value, it is missing"),
        ('url = "http://a/"\ninterval = 1', "import[0].interval: expected `float` >= 5.0"),
        (
            'url = "http://a/"\nprofiles = ["wago-879"]',
            "import[0].profiles: expected none for Modbus, got 'wago-879'",
        ),
        (
            'url = "http://a/"\nprofiles = ["iot-api", "shelly-blu-ht"]',
            "import[0].profiles: expected one per kind, 'shelly-blu-ht' is another sensor",
        ),
        ('url = "http://a/"\nnames = { temp_indoor = "Büro" }', None),
        (
            'url = "http://a/"\n[[import]]\nurl = "http://a/"',
            "import[1].url: expected one of its own, 'a' is import[0]",
        ),
    ],
)
def test_a_mistake_names_key_and_expectation(tmp_path, keys, says):
    said = refuse(tmp_path, f"{WITHOUT_PUMP}[[import]]\n{keys}\n")
    assert said == says if says else said.startswith("import[0].names[...]: expected")
