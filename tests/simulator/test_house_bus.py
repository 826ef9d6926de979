"""The house on the air: its two devices behind the gateway, its sensors, and foreign clients."""

import re
import struct
import subprocess
import sys

import pytest

from simulator.__main__ import main
from simulator.house_bus import SENSOR_LABELS, HouseClock, LiveHouse, house_gateway
from tests.conftest import needs
from tests.simulator.frames import client, framed, hexes, receive

JANUARY = 1_768_449_600.0  # 2026-01-15 04:00 UTC


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def house(clock):
    return LiveHouse(start_s=JANUARY, monotonic=clock, speed=60.0, seed=1)


def ask_floats(connection, address, count):
    """Read floats of unit 2 as a person would: function 3, four bytes each, high word first."""
    pdu = struct.pack(">BHH", 3, address, 2 * count)
    connection.sendall(framed("tcp", pdu))
    return struct.unpack(f">{count}f", receive(connection, 9 + 4 * count)[9:])


def test_a_house_can_live_faster_than_its_clock(house, clock):
    before = house.state()
    clock.now += 10
    assert house.state().time_s == pytest.approx(before.time_s + 600)
    assert HouseClock(1000.0, 1.0, 5.0).at(7.5) == 1002.5


def test_the_meter_and_the_heat_pump_answer_from_one_house(house):
    state = house.state()
    with house_gateway(house, baud=0, turnaround_s=0) as gateway, client(gateway) as connection:
        assert ask_floats(connection, 0x5012, 4) == pytest.approx(state.meter.flow.power)
        assert ask_floats(connection, 0x5008, 1) == pytest.approx([state.meter.flow.frequency_hz])
        assert ask_floats(connection, 0x6000, 1) == pytest.approx([state.meter.active.both[0]])
        connection.sendall(framed("tcp", hexes("04 0002 0002"), unit=7))
        answer = receive(connection, 13)
        tenths = struct.unpack(">hh", answer[9:])
        assert tenths == (round(10 * state.return_c), round(10 * state.flow_c))
        power, frequency, energy, flow = gateway.exchanges
    assert power.values.keys() == {"power_total_kw", "power_L1_kw", "power_L2_kw", "power_L3_kw"}
    assert frequency.values["frequency_hz"] == pytest.approx(state.meter.flow.frequency_hz)
    assert energy.unit == 2
    assert flow.unit == 7
    assert flow.values["flow_temperature_celsius"] == tenths[1] / 10


@pytest.mark.parametrize("count_kwh", [0.0, 4711.5])
def test_the_meter_can_be_replaced_by_a_new_or_a_used_one(house, count_kwh):
    with house_gateway(house, baud=0, turnaround_s=0) as gateway, client(gateway) as connection:
        connection.sendall(framed("tcp", hexes("03 4000 0002")))
        assert receive(connection, 13)[9:] == hexes("2147 0815")
        house.replace_meter("00000042", count_kwh)
        connection.sendall(framed("tcp", hexes("03 4000 0002")))
        assert receive(connection, 13)[9:] == hexes("0000 0042")
        assert ask_floats(connection, 0x6000, 1) == (count_kwh,)


def test_the_sensors_report_once_a_minute_and_not_in_unison(house, clock):
    wall = 1_800_000_000.0
    reports = {}
    for second in range(120):
        clock.now += 1
        readings = house.sensor_readings(wall + second)
        assert readings.keys() == SENSOR_LABELS.keys()
        for name, values in readings.items():
            seen_s = values["last_seen_timestamp"]
            assert 0 <= wall + second - seen_s < 60
            assert isinstance(seen_s, int)
            assert reports.setdefault((name, seen_s), values) == values
    assert 6 <= len(reports) <= 9
    assert len({values["last_seen_timestamp"] for values in readings.values()}) == 3


def test_what_the_sensors_say_is_the_house_in_tenths(house):
    state, readings = house.state(), house.sensor_readings(1_800_000_000.0)
    for name, celsius in (
        ("temp_indoor", state.indoor_c),
        ("temp_outdoor", state.outdoor_c),
        ("temp_buffer", state.buffer_c),
    ):
        assert readings[name]["temperature_celsius"] == round(celsius, 1)
        assert 0 <= readings[name]["humidity_percent"] <= 100
        assert 0 < readings[name]["battery_percent"] <= 100
        assert -100 < readings[name]["rssi_dbm"] < -40


def test_the_thermostat_says_what_it_switches_by(house):
    state = house.state()
    assert house.thermostat_readings() == {
        "switch_state": int(state.wants_heat),
        "target_temperature_celsius": 21.0,
        "current_temperature_celsius": round(state.indoor_c, 1),
    }


def test_the_sensors_have_the_original_systems_labels_under_made_up_names():
    assert {name: labels["device_id"] for name, labels in SENSOR_LABELS.items()} == {
        "temp_outdoor": "200",
        "temp_indoor": "201",
        "temp_buffer": "202",
    }
    for name, labels in SENSOR_LABELS.items():
        assert labels.keys() == {"device_id", "gateway_id", "sensor_id", "sensor_name"}
        assert labels["sensor_name"] == name
        # 00:00:5e:00:53:xx is the block that is kept for documentation.
        assert labels["sensor_id"].startswith("00:00:5e:00:53:")


def test_a_foreign_client_reads_the_same(house):
    """mbpoll reads 25 floats of the meter and the heat pump's temperatures."""
    program = needs("mbpoll")
    with house_gateway(house) as gateway:
        state = house.state()

        def mbpoll(*options):
            command = [program, "-1", "-0", "-p", str(gateway.address[1]), *options, gateway.address[0]]
            shown = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
            return {int(place): float(value) for place, value in re.findall(r"\[(\d+)\]:\s+(\S+)", shown)}

        floats = mbpoll("-a", "2", "-t", "4:float", "-B", "-r", str(0x5000), "-c", "25")
        assert floats[0x5012] == pytest.approx(state.meter.flow.power[0], rel=1e-5)
        assert floats[0x5008] == pytest.approx(state.meter.flow.frequency_hz, rel=1e-5)
        tenths = mbpoll("-a", "7", "-t", "3", "-r", "0", "-c", "14")
        assert tenths[3] == round(10 * state.flow_c)


def test_the_command_says_in_one_line_what_it_serves():
    command = [
        sys.executable,
        "-m",
        "simulator",
        "--listen",
        "127.0.0.1:0",
        "--framing",
        "rtu",
        "--baud",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            port = re.fullmatch(r"Modbus rtu on 127\.0\.0\.1:(\d+), .*\n", line)
            assert port, line
            assert "unit 2 is a WAGO 879 meter, unit 7 an LG R290 heat pump" in line
        finally:
            process.terminate()
        assert process.wait(10) == 0


@pytest.mark.parametrize("listen", ["5020", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000"])
def test_a_place_to_listen_is_host_and_port(listen, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--listen", listen])
    assert "expected HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--baud", "-1", "expected 0 to 1000000, got '-1'"),
        ("--speed", "nan", "expected 0.001 to 100000, got 'nan'"),
        ("--speed", "fast", "expected 0.001 to 100000, got 'fast'"),
        ("--pages", "70000", "expected 0 to 65535, got '70000'"),
    ],
)
def test_a_number_that_cannot_be_is_one_line(option, value, says, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([option, value, "8000", "8001"] if option == "--pages" else [option, value])
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"argument {option}: {says}")


def test_a_taken_port_is_one_line():
    with house_gateway(LiveHouse(start_s=JANUARY, monotonic=Clock())) as gateway:
        listen = f"127.0.0.1:{gateway.address[1]}"
        command = [sys.executable, "-m", "simulator", "--listen", listen]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert re.fullmatch(r"cannot listen: Address already in use.*\n", ended.stderr)
