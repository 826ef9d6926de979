"""`python -m grafana.source`: write the dashboards' JSON."""

import json
from pathlib import Path
from typing import Any

from grafana.source.climate import climate
from grafana.source.energy import energy_board
from grafana.source.heat_pump import heat_pump_board
from grafana.source.overview import overview
from grafana.source.pipeline import pipeline

FOLDER = Path(__file__).parent.parent / "dashboards"


def dashboards() -> dict[str, dict[str, Any]]:
    """By file name without ending."""
    made = (overview(), heat_pump_board(), energy_board(), climate(), pipeline())
    return {str(one["uid"]).removeprefix("heating-"): one for one in made}


def as_json(dashboard: dict[str, Any]) -> str:
    """As it stands in its file."""
    return json.dumps(dashboard, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every file."""
    for name, dashboard in dashboards().items():
        (FOLDER / f"{name}.json").write_text(as_json(dashboard), encoding="utf-8")


if __name__ == "__main__":
    main()
