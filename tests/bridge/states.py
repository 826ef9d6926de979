"""Messages as a poller would publish them, for the tests of the bridge."""

from bridge.arrival import Arrival, Identity, InfoCame, JournalCame, RefusedMessage, StateCame
from readings.payload import CONTRACT, FieldInfo, Info, StreamRange, decode_info, encode_info, encode_state
from readings.reading import DeviceKey, DeviceState, Kind, Value

METER = DeviceKey(Kind.METER, "wp")
PUMP = DeviceKey(Kind.HEATPUMP, "lg")

NOON_MS = 1_795_435_200_000
"""2026-11-23T12:00Z; state number n of a stream was taken n seconds later."""


def make_info(stream: str = "a", device: DeviceKey = METER, contract: int = CONTRACT) -> Info:
    return Info(
        contract=contract,
        poller="poller",
        stream=stream,
        title=device.name,
        manufacturer="",
        model="",
        profile="",
        interval=5,
        fields={
            name: FieldInfo(prefixes=(device.kind.value,), labels={"device": device.name})
            for name in ("power_kw", "energy_kwh")
        },
    )


def info(stream: str = "a", device: DeviceKey = METER, contract: int = CONTRACT) -> InfoCame:
    made = make_info(stream, device, contract)
    return InfoCame(device, stream, contract, decode_info(encode_info(made)), encode_info(made))


def journal(*ranges: tuple[str, int, int], device: DeviceKey = METER) -> JournalCame:
    return JournalCame(device, tuple(StreamRange(*one) for one in ranges))


def state(
    seq: int | None,
    stream: str = "a",
    *,
    device: DeviceKey = METER,
    time_ms: int | None = -1,
    power: Value = 1.5,
    energy: Value = None,
) -> StateCame:
    if time_ms == -1:
        time_ms = NOON_MS + (seq or 0) * 1000
    made = DeviceState(time_ms, stream, seq, {"power_kw": power, "energy_kwh": energy})
    return StateCame(device, made, encode_state(made), is_live=True)


def refused(seq: int, stream: str = "a") -> RefusedMessage:
    return RefusedMessage("topic", "reason", b"{}", Identity(METER, stream, seq))


def ready(count: int, stream: str = "a", device: DeviceKey = METER) -> list[Arrival]:
    """An announced and listed stream with that many states."""
    states = [state(seq, stream, device=device) for seq in range(1, count + 1)]
    return [info(stream, device), *states, journal((stream, 1, count), device=device)]
