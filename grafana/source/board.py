"""What the dashboards have in common: variables, range, refresh, links to each other."""

import json
from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from grafana.source.panels import SOURCE

TAG = "heating"


def board(
    uid: str,
    title: str,
    says: str,
    panels: Sequence[Any],
    variables: Sequence[Any] = (),
    *,
    since: str = "now-6h",
) -> dict[str, Any]:
    """A dashboard as Grafana's JSON.

    Args:
        uid: Its address in Grafana; stable, so that links and favourites last.
        panels: Each with its place.
        since: The range it opens with.
    """
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(says)
        .tags([TAG])
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time(since, "now")
        .editable()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .link(
            dashboard.DashboardLink("Heating")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(False)
            .include_vars(True)
        )
    )
    for variable in variables:
        made = made.with_variable(variable)
    for number, panel in enumerate(panels, start=1):
        made = made.with_panel(panel.id(number))
    built: dict[str, Any] = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    for variable in built["templating"]["list"]:
        # Every kind of variable gets an interval's keys from the kit; Grafana's schema has them nowhere else.
        for key in ("auto", "auto_count", "auto_min"):
            variable.pop(key, None)
    return built


def device(name: str, label: str, metric: str) -> Any:
    """A variable: which device, by the label `device` of a metric."""
    return _query(name, label, f"label_values({metric}, device)")


def room(name: str, label: str, usual: str) -> Any:
    """A variable: which sensor; the usual name first, for houses that have it."""
    current = model.VariableOption(selected=True, text=usual, value=usual)
    return _query(name, label, "label_values(sensor_temperature_celsius, sensor_name)").current(current)


def amount(name: str, label: str, usual: str) -> Any:
    """A variable: a number that a person types in."""
    return dashboard.TextBoxVariable(name).label(label).default_value(usual)


def _query(name: str, label: str, text: str) -> Any:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"qryType": 1, "query": text, "refId": "Variable"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


METER = device("meter", "Meter", "meter_power_total_kw")
HEAT_PUMP = device("heatpump", "Heat pump", "heatpump_flow_temperature_celsius")
OUTDOOR = room("outdoor", "Sensor outdoors", "temp_outdoor")
INDOOR = room("indoor", "Sensor indoors", "temp_indoor")
BUFFER = room("buffer", "Sensor at the buffer", "temp_buffer")
PRICE = amount("price", "Price per kWh", "0.30")
BEGAN = amount("began", "Count at the start, kWh", "0")
