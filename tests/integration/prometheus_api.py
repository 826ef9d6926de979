"""What the tests ask of a Prometheus."""

import json
import urllib.parse
import urllib.request
from typing import Any


def query(port: int, expression: str, at_s: float | None = None) -> list[dict[str, Any]]:
    """The result of an instant query, now or at a time; an error of the server is an error of the test."""
    words = urllib.parse.urlencode({"query": expression} | ({} if at_s is None else {"time": at_s}))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{words}", timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def samples(port: int, selector: str, window: str = "1h") -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Every stored sample of the matching series: (name, device) to (milliseconds, value), oldest first."""
    return {
        (
            series["metric"]["__name__"],
            series["metric"].get("device", series["metric"].get("sensor_name", "")),
        ): [(round(float(at) * 1000), float(value)) for at, value in series["values"]]
        for series in query(port, f"{selector}[{window}]")
    }
