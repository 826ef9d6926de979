"""A house that is heated by a heat pump, driven by time alone.

The model advances in steps of 5 s, within which every power is constant. So
the meter integrates exactly what it shows, and a house gives the same answers
whether it is asked every second or once a day.

The heat pump fills a buffer to the temperature of the heating curve and then
pauses: that makes the compressor's starts. The thermostat asks for heat by the
room's temperature: that makes the longer rests.
"""

from dataclasses import dataclass, replace

from simulator.meter import Count, Flow, MeterState
from simulator.weather import DAY_S, Draw, Drift, Weather

STEP_S = 5
DEFROST_S = 240
DEFROST_EVERY_S = 5400
DEFROST_BELOW_C = 2.0

# Sized so that the heat pump is never busy all of the time: at -13 °C the house
# loses 5 kW, the heating gives it 6.4 kW while the thermostat asks, the heat pump makes 8 kW.
_LOSS_KW_PER_K = 0.15
_EMISSION_KW_PER_K = 0.373
_BUFFER_LOSS_KW_PER_K = 0.004
_HOUSE_KWH_PER_K = 10.0
_BUFFER_KWH_PER_K = 0.1325
_ROOM_TARGET_C = 21.0
_ROOM_HYSTERESIS_K = 0.2
_SUMMER_C = 17.0
_FLOW_LPM = 25.0
_KW_PER_LPM_K = 4.186 / 60
_STANDBY_KW = 0.006
# What each phase carries of the standby power (kW) and of the compressor (a share).
_PHASES = ((0.002, 0.34), (0.002, 0.33), (0.002, 0.33))
_PUMP_KW = 0.040
_DEFROST_KW = 1.2
_DEFROST_HEAT_KW = -2.5


@dataclass(frozen=True, slots=True)
class HouseState:
    """The house at one moment: °C, kW, l/min, bar, Hz; times in seconds since 1970 UTC."""

    time_s: float
    outdoor_c: float
    indoor_c: float
    buffer_c: float
    flow_c: float
    return_c: float
    target_flow_c: float
    room_target_c: float
    wants_heat: bool
    pump_runs: bool
    compressor_runs: bool
    defrosts: bool
    compressor_hz: float
    flow_lpm: float
    pressure_bar: float
    heat_kw: float
    """What the heat pump gives to the water; negative while it defrosts."""
    electric_kw: float
    """What the heat pump takes. The meter sees this less what the panel on L3 gives."""
    meter: MeterState

    @property
    def cop(self) -> float | None:
        """Heat per electricity while the heat pump heats.

        `None` in pauses and while defrosting, where the ratio means nothing.
        """
        return self.heat_kw / self.electric_kw if self.heat_kw > 0 else None


def heating_curve(outdoor_c: float) -> float:
    """The flow temperature that this weather asks for.

    The heat pump's hysteresis takes the flow 2 K above it and 4 K below.

    >>> [heating_curve(outdoor_c) for outdoor_c in (20, 3.5, -13, -30)]
    [29.5, 36.25, 43.0, 43.0]
    """
    return min(43.0, max(29.5, 29.5 + 13.5 * (20.0 - outdoor_c) / 33.0))


def coefficient_of_performance(lift_k: float) -> float:
    """Heat per electricity, by the difference of flow and outdoor temperature.

    >>> [round(coefficient_of_performance(lift_k), 2) for lift_k in (5, 34, 70)]
    [5.0, 3.74, 2.5]
    """
    return min(5.0, max(2.5, 5.0 - 0.056 * (lift_k - 11.5)))


class House:
    """The simulated house. Ask it for later and later times.

    `draw` is asked at the start only; the same draws make the same house.

    >>> house = House(draw=lambda: 0.5, start_s=1768449600)  # 2026-01-15 04:00 UTC
    >>> house.at(1768449600 + 60).compressor_runs
    True
    """

    def __init__(
        self,
        *,
        draw: Draw,
        start_s: float,
        serial_number: str = "21470815",
        count_kwh: float = 12345.678,
    ) -> None:
        self._weather = Weather(draw)
        self._modulation = Drift.drawn(draw, 0.03, periods_s=(613, 97, 41))
        self._voltages = tuple(Drift.drawn(draw, 4.0, periods_s=(DAY_S, 1801, 73, 19)) for _ in range(3))
        self._grid = Drift.drawn(draw, 0.06, periods_s=(3600, 331, 47, 13))
        self._step_s = start_s // STEP_S * STEP_S
        self._outdoor_c = self._weather.outdoor_c(start_s)
        self._indoor_c = _ROOM_TARGET_C - 0.1
        self._buffer_c = max(self._indoor_c, heating_curve(self._outdoor_c) - 7.0)
        self._pipe_c = self._buffer_c
        self._wants_heat = True
        self._running_s: float | None = None
        self._frost_s = 0.0
        self._defrost_left_s = 0.0
        self._put_in_meter(start_s, serial_number, count_kwh)
        self._settle()

    def at(self, time_s: float) -> HouseState:
        """The house at a time.

        Raises:
            ValueError: The time is before the step of the last question.
        """
        if time_s < self._step_s:
            raise ValueError(f"time_s: expected {self._step_s} or later, got {time_s}")
        while time_s >= self._step_s + STEP_S:
            self._advance()
        return self._state(time_s)

    def replace_meter(self, time_s: float, *, serial_number: str, count_kwh: float = 0.0) -> None:
        """Put in another meter at this time, a new one or one that has counted already."""
        self.at(time_s)
        self._put_in_meter(time_s, serial_number, count_kwh)

    def _put_in_meter(self, time_s: float, serial_number: str, count_kwh: float) -> None:
        self._serial_number = serial_number
        self._active = Count.of(count_kwh)
        self._reactive = Count.of(count_kwh / 4)
        self._counted_to_s = float(time_s)
        self._day_began_kwh = count_kwh

    @property
    def _pump_runs(self) -> bool:
        return self._wants_heat or self._running_s is not None

    def _advance(self) -> None:
        """Live through one step with what `_settle` decided, and decide the next."""
        end_s = self._step_s + STEP_S
        since_s = end_s - self._counted_to_s
        self._active = self._active.after(self._flow.power, since_s)
        self._reactive = self._reactive.after(self._flow.reactive, since_s)
        self._counted_to_s = end_s
        if end_s % DAY_S == 0:
            self._day_began_kwh = self._active.both[0]

        hours = STEP_S / 3600
        emission_kw_per_k = _EMISSION_KW_PER_K if self._wants_heat else _BUFFER_LOSS_KW_PER_K
        emitted_kw = emission_kw_per_k * max(0.0, self._buffer_c - self._indoor_c)
        self._buffer_c += hours * (self._heat_kw - emitted_kw) / _BUFFER_KWH_PER_K
        lost_kw = _LOSS_KW_PER_K * (self._indoor_c - self._outdoor_c)
        self._indoor_c += hours * (emitted_kw - lost_kw) / _HOUSE_KWH_PER_K
        if self._pump_runs:
            self._pipe_c = self._buffer_c
        else:
            self._pipe_c += hours * (
                self._indoor_c - self._pipe_c
            )  # still water cools to the room within hours
        self._step_s = end_s
        self._settle()

    def _settle(self) -> None:
        """Decide what runs in the step that begins, and which powers flow."""
        self._outdoor_c = self._weather.outdoor_c(self._step_s)
        self._target_c = heating_curve(self._outdoor_c)
        self._switch_thermostat()
        self._switch_defrost()
        self._switch_compressor()
        self._heat_kw, self._electric_kw = self._heat_pump_powers()
        self._flow = self._meter_flow()

    def _switch_thermostat(self) -> None:
        if self._indoor_c > _ROOM_TARGET_C + _ROOM_HYSTERESIS_K or self._outdoor_c > _SUMMER_C:
            self._wants_heat = False
        elif self._indoor_c < _ROOM_TARGET_C - _ROOM_HYSTERESIS_K and self._outdoor_c < _SUMMER_C - 2:
            self._wants_heat = True

    def _switch_defrost(self) -> None:
        """Frost grows while the house is heated below 2 °C; what has begun is ended."""
        if self._defrost_left_s > 0:
            self._defrost_left_s -= STEP_S
        elif self._outdoor_c >= DEFROST_BELOW_C:
            self._frost_s = 0.0
            return
        if not self._wants_heat:
            return
        self._frost_s += STEP_S
        if self._frost_s > DEFROST_EVERY_S:
            self._frost_s = STEP_S
            self._defrost_left_s = DEFROST_S

    def _switch_compressor(self) -> None:
        """The compressor runs from 6.9 K to 2.9 K below the target in the buffer: about 5 K less than in the flow."""
        if self._defrost_left_s > 0:
            runs = True
        elif not self._wants_heat or self._buffer_c > self._target_c - 2.9:
            runs = False
        else:
            runs = self._running_s is not None or self._buffer_c < self._target_c - 6.9
        if not runs:
            self._running_s = None
        else:
            self._running_s = 0.0 if self._running_s is None else self._running_s + STEP_S

    def _heat_pump_powers(self) -> tuple[float, float]:
        """Heat and electricity, in kW."""
        if self._running_s is None:
            return 0.0, _STANDBY_KW + (_PUMP_KW if self._pump_runs else 0.0)
        if self._defrost_left_s > 0:
            return _DEFROST_HEAT_KW, _DEFROST_KW
        strength = min(1.0, 0.5 + self._running_s / 240) * (1 + self._modulation.at(self._step_s))
        heat_kw = strength * (8.7 + 0.05 * self._outdoor_c)
        flow_c = self._buffer_c + heat_kw / (_FLOW_LPM * _KW_PER_LPM_K)
        return heat_kw, heat_kw / coefficient_of_performance(flow_c - self._outdoor_c)

    def _meter_flow(self) -> Flow:
        """The heat pump on all three phases, its pump on L1, and a small panel that feeds into L3."""
        pump_kw = _PUMP_KW if self._pump_runs else 0.0
        compressor_kw = self._electric_kw - pump_kw - _STANDBY_KW
        one, two, three = (standby + share * compressor_kw for standby, share in _PHASES)
        panel_kw = 0.6 * self._weather.sunshine(self._step_s)
        reactive = 0.3 * compressor_kw / 3 + 0.002
        # The meter resolves 1 W, and what it shows is what it counts.
        return Flow(
            (round(one + pump_kw, 3), round(two, 3), round(three - panel_kw, 3)),
            (reactive + 0.2 * pump_kw, reactive, reactive),
        )

    def _state(self, time_s: float) -> HouseState:
        since_s = time_s - self._counted_to_s
        active = self._active.after(self._flow.power, since_s)
        one, two, three = (230.0 + drift.at(time_s) for drift in self._voltages)
        return HouseState(
            time_s=time_s,
            outdoor_c=self._outdoor_c,
            indoor_c=self._indoor_c,
            buffer_c=self._buffer_c,
            flow_c=self._pipe_c + self._heat_kw / (_FLOW_LPM * _KW_PER_LPM_K),
            return_c=self._pipe_c,
            target_flow_c=self._target_c,
            room_target_c=_ROOM_TARGET_C,
            wants_heat=self._wants_heat,
            pump_runs=self._pump_runs,
            compressor_runs=self._running_s is not None,
            defrosts=self._defrost_left_s > 0,
            compressor_hz=0.0 if self._running_s is None else 20.0 * max(1.0, self._electric_kw),
            flow_lpm=_FLOW_LPM if self._pump_runs else 0.0,
            pressure_bar=1.6 + 0.005 * (self._buffer_c - 30),
            heat_kw=self._heat_kw,
            electric_kw=self._electric_kw,
            meter=MeterState(
                serial_number=self._serial_number,
                flow=replace(
                    self._flow, voltage_v=(one, two, three), frequency_hz=50.0 + self._grid.at(time_s)
                ),
                active=active,
                reactive=self._reactive.after(self._flow.reactive, since_s),
                day_kwh=active.both[0] - self._day_began_kwh,
            ),
        )
