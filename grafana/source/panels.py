"""The panels of the dashboards: a title, what it says, a unit, queries; the looks are the same everywhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import (
    barchart,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as model

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

# Colours that a colour-blind reader tells apart, also on dark: Okabe and Ito's.
ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#3D7EC7", "#D55E00", "#CC79A7",
)  # fmt: skip
WHITE = "text"

PHASES: Mapping[str, str] = {"L1": "#A0622D", "L2": "#6E7580", "L3": "#C7CBD1"}
"""Brown, black and grey as in the cable; black is lifted so that it can be seen on dark."""

Steps = Sequence[tuple[float | None, str]]
"""From which value on which colour; the first has none."""

COP_STEPS: Steps = ((None, "text"), (0.1, "red"), (2.5, "yellow"), (3.5, "green"))
"""A blank one is nobody's fault."""

PLAIN: Steps = ((None, "text"),)

KWH, WATTS = "suffix:kWh", "suffix:W"
"""Not Grafana's own units: those turn 12345.7 kWh into 12.3 MWh, and 2373 W into 2 kW."""

DBM, MINUTES = "suffix:dBm", "suffix:min"
"""Grafana's own writes dbm, and 1 mins for every second minute."""

ROOMS: Mapping[str, str] = {"temp_outdoor": SKY, "temp_indoor": WHITE, "temp_buffer": ORANGE}
"""The sensors that most houses have, by their usual names; others get what comes next."""


REFS = "ABCDEFGHIJ"
"""What a panel's queries are called, in their order."""

POINT = 4
"""Pixels: on a line of 2 hardly seen where values are dense, and well where they stand alone."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        expr: PromQL.
        legend: What its series are called; `{{label}}` stands for a label.
        every: The shortest step, such as `5m`.
        joined_h: Hours. In lines, for what may speak seldom: each value is a point, joined to the next one over so long.
    """

    expr: str
    legend: str
    every: str = ""
    joined_h: float | None = None


def _steps(steps: Steps) -> dashboard.ThresholdsConfig:
    made = [model.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(made)


def _color(mode: model.FieldColorModeId) -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(mode)


def _words(words: Mapping[int, tuple[str, str]]) -> list[model.ValueMapping]:
    """Numbers that are shown as words in a colour."""
    return [
        model.ValueMap(
            options={
                str(number): model.ValueMappingResult(text=text, color=color, index=index)
                for index, (number, (text, color)) in enumerate(words.items())
            }
        )
    ]


def _legend(shown: bool) -> common.VizLegendOptions:  # noqa: FBT001  # its only question
    """Names below the panel, in a row."""
    return (
        common.VizLegendOptions()
        .display_mode(look.LegendDisplayMode.LIST)
        .placement(look.LegendPlacement.BOTTOM)
        .show_legend(shown)
    )


def _targets(panel: Any, queries: Iterable[Query], *, instant: bool, interval: str = "") -> Any:
    for ref, query in zip(REFS, queries, strict=False):
        target = (
            prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref).datasource(SOURCE)
        )
        target = target.instant() if instant else target.range()
        if step := interval or query.every:
            target = target.interval(step)
        panel = panel.with_target(target)
    return panel.datasource(SOURCE)


def _place(panel: Any, title: str, says: str, at: tuple[int, int, int, int]) -> Any:
    x, y, w, h = at
    return panel.title(title).description(says).grid_pos(model.GridPos(x=x, y=y, w=w, h=h))


def number(
    title: str,
    says: str,
    at: tuple[int, int, int, int],
    query: Query | Sequence[Query],
    *,
    unit: str,
    decimals: int | None = None,
    steps: Steps = PLAIN,
    words: Mapping[int, tuple[str, str]] | None = None,
    since: str = "",
    filled: bool = False,
) -> Any:
    """One number, or a few, large.

    Args:
        at: x, y, width, height on a grid of 24 columns.
        since: A range of its own, such as `now/d` for the day so far.
        filled: The colour fills the panel instead of the number.
    """
    queries = [query] if isinstance(query, Query) else query
    panel = _place(stat.Panel(), title, says, at)
    panel = _targets(panel, queries, instant=True)
    panel = (
        panel.unit(unit)
        .no_value("-")
        .thresholds(_steps(steps))
        .color_scheme(_color(model.FieldColorModeId.THRESHOLDS))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(look.BigValueColorMode.BACKGROUND if filled else look.BigValueColorMode.VALUE)
        .graph_mode(look.BigValueGraphMode.NONE)
        .text_mode(look.BigValueTextMode.AUTO if len(queries) > 1 else look.BigValueTextMode.VALUE)
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    if words:
        panel = panel.mappings(_words(words))
    if since:
        panel = panel.time_from(since).hide_time_override(True)
    return panel


def lines(
    title: str,
    says: str,
    at: tuple[int, int, int, int],
    queries: Sequence[Query],
    *,
    unit: str,
    axis: str,
    colors: Mapping[str, str] | None = None,
    decimals: int | None = None,
    span: tuple[float, float] | None = None,
    steps: Steps | None = None,
    right: Mapping[str, tuple[str, str]] | None = None,
    stepped: bool = False,
    fill: int = 0,
) -> Any:
    """Lines over time.

    Args:
        axis: What the axis is called.
        colors: By legend.
        span: Where the axis begins and ends unless the values go beyond.
        steps: Areas behind the lines.
        right: Legends that have an axis of their own: unit and name.
        fill: How dense the area below a line is, in per cent.
    """
    panel = _targets(_place(timeseries.Panel(), title, says, at), queries, instant=False)
    panel = (
        panel.unit(unit)
        .axis_label(axis)
        .color_scheme(_color(model.FieldColorModeId.PALETTE_CLASSIC))
        .line_width(2)
        .fill_opacity(fill)
        .show_points(look.VisibilityMode.NEVER)
        .point_size(POINT)
        .line_interpolation(look.LineInterpolation.STEP_AFTER if stepped else look.LineInterpolation.LINEAR)
        # A gap is a gap: three missed polls of a slow meter.
        .span_nulls(180000.0)
        .legend(_legend(len(queries) > 1 or "{{" in queries[0].legend))
        .tooltip(common.VizTooltipOptions().mode(look.TooltipDisplayMode.MULTI).sort(look.SortOrder.NONE))
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    if span:
        panel = panel.axis_soft_min(span[0]).axis_soft_max(span[1])
    if steps:
        panel = panel.thresholds(_steps(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(look.GraphThresholdsStyleMode.DASHED)
        )
    for ref, query in zip(REFS, queries, strict=False):
        if query.joined_h:
            panel = panel.override_by_query(ref, _seldom(query.joined_h))
    for name, color in (colors or {}).items():
        panel = panel.override_by_name(name, [_fixed(color)])
    for name, (other, label) in (right or {}).items():
        panel = panel.override_by_name(
            name,
            [
                model.DynamicConfigValue(id_val="unit", value=other),
                model.DynamicConfigValue(id_val="custom.axisPlacement", value="right"),
                model.DynamicConfigValue(id_val="custom.axisLabel", value=label),
                *([_fixed(colors[name])] if colors and name in colors else []),
            ],
        )
    return panel


def points(series: str, legend: str, *, every: str = "5m", joined_h: float = 3) -> Query:
    """What may speak seldom, as a sensor on a battery does: the mean of a step in which something came.

    A step in which nothing came has nothing: no value is repeated as if it were measured again.
    """
    return Query(f"avg_over_time({series}[$__interval])", legend, every, joined_h)


def _seldom(joined_h: float) -> list[model.DynamicConfigValue]:
    return [
        model.DynamicConfigValue(id_val="custom.spanNulls", value=joined_h * 3_600_000),
        model.DynamicConfigValue(id_val="custom.showPoints", value="always"),
    ]


def _fixed(color: str) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})


def states(
    title: str,
    says: str,
    at: tuple[int, int, int, int],
    queries: Sequence[Query],
    words: Mapping[int, tuple[str, str]],
) -> Any:
    """What was on when, as bands."""
    panel = _targets(_place(statetimeline.Panel(), title, says, at), queries, instant=False)
    return (
        panel.unit("short")
        .mappings(_words(words))
        .color_scheme(_color(model.FieldColorModeId.THRESHOLDS))
        .thresholds(_steps(PLAIN))
        .show_value(look.VisibilityMode.NEVER)
        .merge_values(True)
        .row_height(0.8)
        .fill_opacity(80)
        .line_width(0)
        .legend(_legend(True))
    )


def calendar(
    title: str,
    says: str,
    at: tuple[int, int, int, int],
    queries: Sequence[Query],
    *,
    unit: str,
    axis: str,
    since: str,
    by: str,
    colors: Mapping[str, str] | None = None,
    decimals: int = 1,
    ratio: str = "",
) -> Any:
    """Bars by calendar day or month of the dashboard's time zone, from hourly values.

    The hours are named after their day and added up there: a day of 23 or 25
    hours is right, which no step of Prometheus is.

    Args:
        since: The range, such as `now-30d/d`.
        by: How a bar is named, in the letters of moment.js: `YYYY-MM-DD`.
        ratio: Show the first query's sum divided by the second's, called so.
    """
    panel = _targets(_place(barchart.Panel(), title, says, at), queries, instant=False, interval="1h")
    names = [query.legend for query in queries]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("joinByField", {"byField": "Time", "mode": "outer"}),
        ("formatTime", {"timeField": "Time", "outputFormat": by, "useTimezone": True}),
        (
            "groupBy",
            {
                "fields": {
                    "Time": {"aggregations": [], "operation": "groupby"},
                    **{name: {"aggregations": ["sum"], "operation": "aggregate"} for name in names},
                }
            },
        ),
    ]
    if ratio:
        binary = {"left": f"{names[0]} (sum)", "operator": "/", "right": f"{names[1]} (sum)"}
        steps.append(
            ("calculateField", {"mode": "binary", "binary": binary, "alias": ratio, "replaceFields": False})
        )
        hidden = {f"{name} (sum)": True for name in names}
        steps.append(("organize", {"excludeByName": hidden, "indexByName": {}, "renameByName": {}}))
    else:
        renamed = {f"{name} (sum)": name for name in names}
        steps.append(("organize", {"excludeByName": {}, "indexByName": {}, "renameByName": renamed}))
    for name, options in steps:
        panel = panel.with_transformation(model.DataTransformerConfig(id_val=name, options=options))
    panel = (
        panel.unit(unit)
        .decimals(decimals)
        .axis_label(axis)
        .axis_soft_min(0)
        .x_field("Time")
        .x_tick_label_spacing(100)
        .show_value(look.VisibilityMode.NEVER)
        .stacking(look.StackingMode.NORMAL if len(queries) > 1 and not ratio else look.StackingMode.NONE)
        .fill_opacity(80)
        .color_scheme(_color(model.FieldColorModeId.PALETTE_CLASSIC))
        .time_from(since)
        .hide_time_override(True)
        .max_data_points(10_000)
        .legend(_legend(len(queries) > 1 and not ratio))
    )
    for name, color in (colors or {}).items():
        panel = panel.override_by_name(name, [_fixed(color)])
    return panel


def cloud(
    title: str,
    says: str,
    at: tuple[int, int, int, int],
    x: Query,
    y: Query,
    *,
    unit: str,
    since: str,
    every: str,
) -> Any:
    """Points of one quantity over another, each from one moment.

    Args:
        since: The range, such as `now-30d`.
        every: The time between two points.
    """
    fields = [
        model.DynamicConfigValue(id_val="custom.axisLabel", value=name) for name in (x.legend, y.legend)
    ]
    matcher = [{"matcher": {"id": "byName", "options": one.legend}} for one in (x, y)]
    panel = _targets(
        _place(dashboard.Panel().type("xychart"), title, says, at), [x, y], instant=False, interval=every
    )
    return (
        panel.unit(unit)
        .decimals(1)
        .custom({"show": "points", "pointSize": {"fixed": 4}, "fillOpacity": 50, "axisPlacement": "auto"})
        .color_scheme(_color(model.FieldColorModeId.PALETTE_CLASSIC))
        .options(
            {
                "mapping": "manual",
                "series": [
                    {"frame": {"matcher": {"id": "byIndex", "options": 0}}, "x": matcher[0], "y": matcher[1]}
                ],
                "legend": {"showLegend": False, "displayMode": "list", "placement": "bottom", "calcs": []},
                "tooltip": {"mode": "single", "sort": "none"},
            }
        )
        .with_transformation(
            model.DataTransformerConfig(id_val="joinByField", options={"byField": "Time", "mode": "inner"})
        )
        .override_by_name(x.legend, fields[:1])
        .override_by_name(y.legend, [*fields[1:], _fixed(VERMILION)])
        .max_data_points(10_000)
        .time_from(since)
        .hide_time_override(True)
    )
