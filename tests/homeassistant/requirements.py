"""What the integrations need that the test uses, and those that they depend on: Home Assistant would install it at its start.

Run it with the Python that has Home Assistant.
"""

import json
from collections.abc import Iterator
from importlib import resources

USED = ("mqtt", "energy", "recorder", "frontend")
"""Without the frontend the newer release starts in recovery mode."""


def requirements(*integrations: str) -> Iterator[str]:
    """The packages that these integrations name in their manifests."""
    pending, seen = list(integrations), set()
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            file = resources.files("homeassistant.components") / name / "manifest.json"
            manifest = json.loads(file.read_text(encoding="utf-8"))
            pending += manifest.get("dependencies", [])
            yield from manifest.get("requirements", [])


if __name__ == "__main__":
    print("\n".join(sorted(set(requirements(*USED)))))
