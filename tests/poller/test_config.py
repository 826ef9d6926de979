"""The configuration: what it means, and that every mistake stops the start with one line."""

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from poller.__main__ import main
from poller.address import EXPECTED, NetworkAddress, SerialAddress
from poller.config import BusSettings, read_config, refuse_conflicts
from poller.device import Device, describe_device
from poller.profile import load_profile, profile_names
from readings.errors import SettingsError
from readings.reading import DeviceKey, Kind
from tests.conftest import needs

GOOD = """
[mqtt]
host = "broker"
[poller]
name = "house"
[[bus]]
name = "rs485"
connect = "tcp://192.168.2.10:8899"
baud = 9600
[[device]]
name = "wp"
title = "Wärmepumpe"
bus = "rs485"
profile = "wago-879"
unit = 2
interval = 30
aliases = ["wago"]
[[device]]
name = "lg"
bus = "rs485"
profile = "lg-r290"
unit = 7
[bridge]
data = "elsewhere"
[[remote_write]]
url = "http://localhost:9090/api/v1/write"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_what_the_file_means(tmp_path):
    settings = read_config(write(tmp_path, GOOD), {})
    meter, pump = settings.devices
    assert settings.buses == (
        BusSettings("rs485", NetworkAddress("192.168.2.10", 8899, "socket"), 9600, 0.03),
    )
    assert (meter.key, meter.title, meter.unit) == (DeviceKey(Kind.METER, "wp"), "Wärmepumpe", 2)
    assert (meter.interval_s, meter.bus, meter.aliases) == (30, "rs485", ("wago",))
    assert (pump.key, pump.title, pump.interval_s) == (DeviceKey(Kind.HEATPUMP, "lg"), "lg", 10)
    assert settings.journal == tmp_path / "data" / "journal.sqlite"
    assert (settings.journal_age_s, settings.journal_bytes) == (7 * 86400, 500_000_000)
    assert (settings.mqtt.host, settings.mqtt.root, settings.name) == ("broker", "heating", "house")


def test_a_field_or_a_kind_of_them_may_be_read_more_seldom(tmp_path):
    text = GOOD.replace(
        "unit = 2", "unit = 2\nintervals = { energy = 300, energy_L1_kwh = 60, frequency_hz = 90 }"
    )
    meter, pump = read_config(write(tmp_path, text), {}).devices
    slow = {name: one.interval_s for name, one in meter.fields.items() if one.interval_s}
    counts = {name for name, one in meter.fields.items() if one.quantity.kind == "energy"}
    assert slow == dict.fromkeys(counts, 300) | {"energy_L1_kwh": 60, "frequency_hz": 90}
    assert meter.interval_of("energy_total_raw_kwh") == 300
    assert not any(one.interval_s for one in pump.fields.values())


def test_an_empty_file_is_a_poller_without_devices(tmp_path):
    settings = read_config(write(tmp_path, ""), {})
    assert (settings.buses, settings.devices, settings.mqtt.host) == ((), (), "localhost")


@pytest.mark.parametrize(
    ("connect", "host", "port", "framing"),
    [
        ("tcp://192.168.2.10:8899", "192.168.2.10", 8899, "socket"),
        ("rtu+tcp://gateway.local:4196", "gateway.local", 4196, "rtu"),
        ("tcp://meter", "meter", 502, "socket"),
        ("tcp://[fd00::7]:502/", "fd00::7", 502, "socket"),
    ],
)
def test_where_a_bus_is(tmp_path, connect, host, port, framing):
    (bus,) = read_config(write(tmp_path, GOOD.replace("tcp://192.168.2.10:8899", connect)), {}).buses
    assert bus.address == NetworkAddress(host, port, framing)


def test_a_serial_port_has_its_speed_and_parity_in_its_address(tmp_path):
    text = GOOD.replace("tcp://192.168.2.10:8899", "serial:///dev/ttyUSB0?baud=9600&parity=E")
    (bus,) = read_config(write(tmp_path, text.replace("baud = 9600", "")), {}).buses
    assert (bus.address, bus.framing, bus.baud) == (SerialAddress("/dev/ttyUSB0", 9600, "E"), "rtu", 9600)


def test_fields_can_be_added_and_left_out(tmp_path):
    text = GOOD.replace("unit = 2", 'unit = 2\nfields = ["voltage_L1_v"]\nwithout = ["power_factor"]')
    (meter, _) = read_config(write(tmp_path, text), {}).devices
    assert "voltage_L1_v" in meter.fields
    assert "power_factor" not in meter.fields


def test_what_other_programs_may_do(tmp_path):
    proxy = """
[bus.proxy]
listen = "[::]:5020"
[[bus.proxy.writes]]
from = ["192.168.2.20", "fd00::/64"]
unit = 7
coils = [0]
holding = ["0-2", 4]
"""
    (bus,) = read_config(write(tmp_path, GOOD.replace("baud = 9600\n", f"baud = 9600\n{proxy}")), {}).buses
    assert (bus.proxy.host, bus.proxy.port) == ("::", 5020)
    (rule,) = bus.proxy.rules
    assert (rule.unit, rule.coils, rule.holding) == (7, (range(1),), (range(3), range(4, 5)))
    assert [str(one) for one in rule.sources] == ["192.168.2.20/32", "fd00::/64"]
    environ = {"HEATING_BUS__0__PROXY__LISTEN": "127.0.0.1:502"}
    (bus,) = read_config(write(tmp_path, GOOD), environ).buses
    assert (bus.proxy.host, bus.proxy.port, bus.proxy.rules) == ("127.0.0.1", 502, ())


def test_two_buses_cannot_have_one_proxy(tmp_path):
    first = 'name = "rs485"\nproxy.listen = "127.0.0.1:502"\n'
    second = '[[bus]]\nname = "b"\nconnect = "tcp://b"\nproxy.listen = "127.0.0.1:502"\n[[device]]\n'
    text = GOOD.replace('name = "rs485"\n', first).replace("[[device]]\n", second, 1)
    with pytest.raises(
        SettingsError, match=r"bus\[1\].proxy.listen: expected one of its own, '127.0.0.1:502' is bus"
    ):
        read_config(write(tmp_path, text), {})


def test_the_environment_overrides(tmp_path):
    environ = {"HEATING_BUS__0__CONNECT": "tcp://gateway:502", "HEATING_DEVICE__1__UNIT": "9", "PATH": "/bin"}
    settings = read_config(write(tmp_path, GOOD), environ)
    assert settings.buses[0].address == NetworkAddress("gateway", 502, "socket")
    assert settings.devices[1].unit == 9


NO_CONNECT = f"{EXPECTED}, got"
NO_NAME = r"expected `str` matching regex '^[a-z0-9_-]+\\Z'"

MISTAKES = [
    ("[mqtt]", "[mqtt]\nhots = 1", "mqtt.hots: unknown key"),
    ("[mqtt]", "[mqqt]", "mqqt: unknown key"),
    ("[mqtt]", "[homeassistant]\nprefixes = 1\n[mqtt]", "homeassistant.prefixes: unknown key"),
    (
        "[mqtt]",
        '[homeassistant]\nprefix = "ha/#"\n[mqtt]',
        "homeassistant: prefix 'ha/#': expected topic levels without '+', '#', '$' and empty levels",
    ),
    ("unit = 2", "unti = 2", "device[0].unti: unknown key"),
    ('name = "house"', 'nmae = "house"', "poller.nmae: unknown key"),
    ('host = "broker"', "host = 1", "mqtt.host: expected `str`, got `int`"),
    ('host = "broker"', 'port = "1883"', "mqtt.port: expected `int`, got `str`"),
    ('host = "broker"', "port = 70000", "mqtt.port: expected `int` <= 65535"),
    (
        'host = "broker"',
        'root = "a/#"',
        "mqtt: root 'a/#': expected topic levels without '+', '#', '$' and empty levels",
    ),
    (
        'host = "broker"',
        'ca = "nowhere.pem"',
        "mqtt.ca: expected a file with certificates, got 'nowhere.pem'",
    ),
    (
        'host = "broker"',
        'ca = "config.toml"',
        "mqtt.ca: expected a file with certificates, got 'config.toml'",
    ),
    (
        'title = "Wärmepumpe"',
        'title = "lg"',
        "device[1].title: expected one of its own, 'lg' is device[0]",
    ),
    ("baud = 9600", 'baud = "fast"', "bus[0].baud: expected `int`, got `str`"),
    ("baud = 9600", "baud = -1", "bus[0].baud: expected `int` >= 0"),
    (
        "tcp://192.168.2.10:8899",
        "serial:///dev/ttyUSB0?baud=19200",
        "bus[0].baud: expected the speed in connect alone, as ?baud=9600",
    ),
    (
        "tcp://192.168.2.10:8899",
        "serial:///dev/ttyUSB0?parity=X",
        "bus[0].connect: expected parity N (none), E (even) or O (odd), got 'X' in 'serial:///dev/ttyUSB0?parity=X'",
    ),
    ('name = "rs485"', 'name = "RS 485"', f"bus[0].name: {NO_NAME}"),
    ('name = "wp"', 'name = "Wärme"', f"device[0].name: {NO_NAME}"),
    ('name = "house"', 'name = "my house"', f"poller.name: {NO_NAME}"),
    ('name = "rs485"', r'name = "rs485\n"', f"bus[0].name: {NO_NAME}"),
    ('name = "wp"', "", "device[0].name: expected a value, it is missing"),
    ('profile = "wago-879"', "", "device[0].profile: expected a value, it is missing"),
    ("tcp://192.168.2.10:8899", "192.168.2.10", f"bus[0].connect: {NO_CONNECT} '192.168.2.10'"),
    ("tcp://192.168.2.10:8899", "udp://gateway:1", f"bus[0].connect: {NO_CONNECT} 'udp://gateway:1'"),
    ("tcp://192.168.2.10:8899", "tcp://gateway:99999", f"bus[0].connect: {NO_CONNECT} 'tcp://gateway:99999'"),
    ("tcp://192.168.2.10:8899", "tcp://:502", f"bus[0].connect: {NO_CONNECT} 'tcp://:502'"),
    ("tcp://192.168.2.10:8899", "tcp://gateway/path", f"bus[0].connect: {NO_CONNECT} 'tcp://gateway/path'"),
    ("tcp://192.168.2.10:8899", "tcp://gateway:0", f"bus[0].connect: {NO_CONNECT} 'tcp://gateway:0'"),
    ("tcp://192.168.2.10:8899", "tcp://gateway?a=1", f"bus[0].connect: {NO_CONNECT} 'tcp://gateway?a=1'"),
    ("tcp://192.168.2.10:8899", "tcp://me@gateway", f"bus[0].connect: {NO_CONNECT} 'tcp://me@gateway'"),
    *(
        ('name = "rs485"\n', f'name = "rs485"\n{bad}\n', f"bus[0].proxy{says}")
        for bad, says in (
            ("proxy = 5020", ": expected `object | null`, got `int`"),
            ("proxy.lisen = ':5020'", ".lisen: unknown key"),
            ("proxy.writes = []", ".listen: expected a value, it is missing"),
            ("proxy.listen = '5020'", ".listen: expected ADDRESS:PORT, got '5020'"),
            (
                "proxy.listen = 'gateway:502'",
                ".listen: expected an IP address of this machine and a port, got 'gateway:502'",
            ),
            *(
                (f"proxy.listen = '[::]:502'\nproxy.writes = [{{ {rule} }}]", f".writes[0]{wrong}")
                for rule, wrong in (
                    ("unit = 7, coils = [0]", ".from: expected a value, it is missing"),
                    ("from = [], unit = 7, coils = [0]", ".from: expected `array` of length >= 1"),
                    ("from = ['::1'], unit = 0, coils = [0]", ".unit: expected `int` >= 1"),
                    (
                        "from = ['::1'], unit = 7",
                        ": expected coils or holding, the addresses that may be written",
                    ),
                    (
                        "from = ['10.0.0.1', 'pi'], unit = 7, coils = [0]",
                        ".from[1]: expected an IP address or a network like 192.168.2.0/24, got 'pi'",
                    ),
                    (
                        "from = ['10.0.0.1/8'], unit = 7, coils = [0]",
                        ".from[0]: expected an IP address or a network like 192.168.2.0/24, got '10.0.0.1/8'",
                    ),
                    *(
                        (
                            f"from = ['::1'], unit = 7, holding = [1, {wrong}]",
                            f'.holding[1]: expected an address from 0 to 65535, or two like "2-4", got {shown}',
                        )
                        for wrong, shown in (
                            ("-1", "-1"),
                            ("65536", "65536"),
                            ("'4-2'", "'4-2'"),
                            ("'2-'", "'2-'"),
                            ("'a-b'", "'a-b'"),
                        )
                    ),
                )
            ),
        )
    ),
    ('name = "lg"', 'name = "wp"', "device[1].name: expected one of its own, 'wp' is device[0]"),
    ("unit = 7", "unit = 2", "device[1].unit: expected one of its own, 'unit 2 on bus rs485' is device[0]"),
    ("unit = 2", "unit = 300", "device[0].unit: expected `int` <= 247"),
    ("unit = 2", "unit = 0", "device[0].unit: expected `int` >= 1"),
    ("unit = 2", "unit = 2.5", "device[0].unit: expected `int`, got `float`"),
    ("interval = 30", "interval = 0", "device[0].interval: expected `float` >= 1.0"),
    (
        "unit = 7",
        "unit = 7\ninterval = 60",
        "device[1].interval: expected at most 15 s, a LG R290 Therma V stops when nobody asks it",
    ),
    (
        'profile = "wago-879"',
        'profile = "wago-978"',
        f"device[0].profile: no profile 'wago-978': expected one of {', '.join(profile_names())}",
    ),
    (
        'profile = "wago-879"',
        'profile = "shelly-blu-ht"',
        "device[0].profile: expected a Modbus device, shelly-blu-ht reports by itself",
    ),
    (
        'bus = "rs485"\nprofile = "wago',
        'bus = "rs232"\nprofile = "wago',
        "device[0].bus: expected rs485, got 'rs232'",
    ),
    (
        'aliases = ["wago"]',
        'aliases = ["1a"]',
        r"device[0].aliases[0]: expected `str` matching regex '^[a-zA-Z_][a-zA-Z0-9_]*\\Z'",
    ),
    (
        'aliases = ["wago"]',
        'aliases = ["meter"]',
        "device[0].aliases: expected each once, and meter not at all",
    ),
    (
        "[bridge]",
        '[[bus]]\nname = "second"\nconnect = "rtu+tcp://192.168.2.10:8899"\n[bridge]',
        "bus[1].connect: expected one of its own, '192.168.2.10:8899' is bus[0]",
    ),
    (
        "[bridge]",
        '[[bus]]\nname = "rs485"\nconnect = "tcp://other"\n[bridge]',
        "bus[1].name: expected one of its own, 'rs485' is bus[0]",
    ),
    ('name = "house"', "journal_days = 0", "poller.journal_days: expected `float` > 0.0"),
    ('name = "house"', "journal_days = inf", "poller.journal_days: expected a finite number, got inf"),
    (
        "unit = 2",
        f"unit = 2\nwithout = {json.dumps([*load_profile('wago-879').choose()])}",
        "device[0].without: expected to leave a field to read",
    ),
    (
        "unit = 7",
        "unit = 7\nintervals = { power = 60 }",
        "device[1].intervals.power: expected a field that is read, or their kind: bit, compressor_running, "
        "defrost_active, enum, error_active, error_code, flow_rate_lpm, flow_temperature_celsius, measurement, "
        "operating_mode, outdoor_temperature_celsius, power_state, return_temperature_celsius, selected_mode, "
        "target_temperature_celsius, water_pressure_bar, water_pump_running",
    ),
    (
        "unit = 2",
        "unit = 2\nintervals = { energy = 0.5 }",
        "device[0].intervals.energy: expected 1 to 3600 s, got 0.5",
    ),
]


@pytest.mark.parametrize(("good", "bad", "says"), MISTAKES)
def test_a_mistake_is_one_line_that_names_file_key_and_expectation(tmp_path, good, bad, says):
    assert good in GOOD
    path = write(tmp_path, GOOD.replace(good, bad, 1))
    with pytest.raises(SettingsError) as error:
        read_config(path, {})
    assert str(error.value) == f"{path}: {says}"


def test_the_brokers_certificate_lies_beside_the_configuration(tmp_path):
    make = [needs("openssl"), "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=house"]
    subprocess.run(
        [*make, "-keyout", "key.pem", "-out", "ca.pem"], cwd=tmp_path, check=True, capture_output=True
    )
    settings = read_config(write(tmp_path, GOOD.replace('host = "broker"', 'ca = "ca.pem"')), {})
    assert settings.mqtt.ca == str(tmp_path / "ca.pem")


def test_a_field_that_the_profile_has_not_is_answered_with_those_that_it_has(tmp_path):
    path = write(tmp_path, GOOD.replace("unit = 2", 'unit = 2\nfields = ["voltage"]'))
    with pytest.raises(SettingsError) as error:
        read_config(path, {})
    assert str(error.value).startswith(
        f"{path}: device[0].fields: 'voltage' is not a field of profile wago-879: expected power_total_kw,"
    )
    assert "\n" not in str(error.value)


def test_a_profile_that_the_bus_cannot_poll_is_found_before_the_start(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "narrow.toml").write_text('extends = "wago-879"\nmax_registers = 1\n')
    text = GOOD.replace('name = "house"', 'name = "house"\nprofiles = "mine"').replace("wago-879", "narrow")
    path = write(tmp_path, text)
    assert main(["--config", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{path}: device[0].profile: voltage_L1_v: takes 2 registers, one request reads at most 1"


def test_a_profile_of_the_users_own_is_named_like_any_other(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "cellar.toml").write_text('extends = "wago-879"\ntitle = "Cellar"\n')
    text = GOOD.replace('name = "house"', 'name = "house"\nprofiles = "mine"').replace("wago-879", "cellar")
    settings = read_config(write(tmp_path, text), {})
    assert settings.profiles == tmp_path / "mine"
    assert (settings.devices[0].profile.name, settings.devices[0].profile.title) == ("cellar", "Cellar")


def test_what_is_wrong_with_a_users_profile_is_said_with_its_file(tmp_path):
    (tmp_path / "mine").mkdir()
    own = tmp_path / "mine" / "cellar.toml"
    own.write_text('extends = "wago-879"\ncolour = "red"\n')
    text = GOOD.replace('name = "house"', 'name = "house"\nprofiles = "mine"').replace("wago-879", "cellar")
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as error:
        read_config(path, {})
    assert str(error.value) == f"{path}: device[0].profile: {own}: colour: unknown key"
    own.unlink()
    with pytest.raises(SettingsError, match="no profile 'cellar': expected one of"):
        read_config(path, {})
    own.parent.rmdir()
    with pytest.raises(SettingsError) as error:
        read_config(path, {})
    assert (
        str(error.value)
        == f"{path}: poller.profiles: expected a folder with profiles, there is none at {own.parent}"
    )


def test_two_sources_of_one_name_are_found_before_the_start(tmp_path):
    path = write(tmp_path, GOOD + '[[shelly]]\nprefix = "em"\n[[shelly.meter]]\nname = "wp"\n')
    with pytest.raises(SettingsError) as error:
        read_config(path, {})
    assert str(error.value) == f"{path}: device: meter/wp and meter/wp have one name"


def test_a_broken_file_is_one_line_too(tmp_path):
    path = write(tmp_path, "[mqtt\n")
    with pytest.raises(SettingsError) as error:
        read_config(path, {})
    assert str(error.value).startswith(f"{path}: Expected ']'")
    assert "\n" not in str(error.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_config(tmp_path / "nowhere.toml", {})


def test_no_mistake_in_the_table_is_one_of_toml():
    for good, bad, _ in MISTAKES:
        tomllib.loads(GOOD.replace(good, bad, 1))


def test_the_announcement_says_what_a_consumer_needs():
    profile = load_profile("wago-879")
    fields = {"power_total_kw": profile.fields["power_total_kw"]}
    meter = Device(DeviceKey(Kind.METER, "wp"), "Meter", profile, fields, 30, aliases=("wago",))
    info = describe_device(meter, "house", "k3f9")
    assert (info.contract, info.poller, info.stream, info.title) == (1, "house", "k3f9", "Meter")
    assert (info.manufacturer, info.model, info.profile) == ("WAGO", "879-30xx", "wago-879")
    power = info.fields["power_total_kw"]
    assert (power.unit, power.kind, power.labels) == ("kW", "power", {"device": "wp"})
    assert power.prefixes == ("meter", "wago")


def test_a_sensor_has_the_labels_that_it_was_given():
    profile = load_profile("shelly-blu-ht")
    labels = {"device_id": "d", "gateway_id": "g", "sensor_id": "s", "sensor_name": "temp_indoor"}
    sensor = Device(DeviceKey(Kind.SENSOR, "s"), "S", profile, profile.fields, 450, labels=labels)
    assert describe_device(sensor, "house", "k3f9").fields["temperature_celsius"].labels == labels


def sensor(name: str, *, kind: Kind = Kind.SENSOR, **labels: str) -> Device:
    profile = load_profile("shelly-blu-ht")
    return Device(DeviceKey(kind, name), name, profile, profile.fields, 450, labels=labels)


def test_devices_with_names_and_series_of_their_own_are_good():
    refuse_conflicts([sensor("a"), sensor("b"), sensor("c", sensor_id="1"), sensor("d", sensor_id="2")])


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        ([sensor("a"), sensor("a")], "device: sensor/a and sensor/a have one name"),
        ([sensor("a"), sensor("a", kind=Kind.METER)], "device: sensor/a and meter/a have one name"),
        (
            [sensor("a", sensor_id="1"), sensor("b", sensor_id="1")],
            "device: sensor/a and sensor/b both make sensor_temperature_celsius{'sensor_id': '1'}",
        ),
    ],
)
def test_devices_that_would_write_over_each_other_are_refused(devices, says):
    with pytest.raises(SettingsError) as error:
        refuse_conflicts(devices)
    assert str(error.value) == says
