"""A compose project in a real Docker engine, as the tests see it."""

import json
import os
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import needs

ROOT = Path(__file__).parent.parent.parent


def docker(*arguments: str) -> str:
    """What `docker` answers; a refusal fails the test with its words."""
    outcome = subprocess.run([needs("docker"), *arguments], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


def needs_engine() -> None:
    if subprocess.run([needs("docker"), "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers")


class Stack:
    """A compose project of its own.

    Args:
        project: Its name.
        files: compose.yaml and what overrides it.
        environment: What stands in its .env.
    """

    def __init__(self, project: str, files: Sequence[Path], environment: Mapping[str, str]) -> None:
        self._command = [
            needs("docker"),
            *("compose", "--project-name", project, "--project-directory", str(ROOT)),
            *("--env-file", os.devnull),
            *(part for file in files for part in ("--file", str(file))),
        ]
        self._environment = {**os.environ, **environment}

    def try_to(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, check=False, env=self._environment
        )

    def __call__(self, *arguments: str) -> str:
        outcome = self.try_to(*arguments)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return outcome.stdout

    @contextmanager
    def running(self, *services: str) -> Iterator["Stack"]:
        """Up and healthy; whatever a killed run left behind is taken away first, and everything at the end."""
        self("down", "--volumes", "--remove-orphans", "--timeout", "2")
        try:
            # Once: without BuildKit, `up --build` builds one image for every service that names it.
            self("build", "--quiet", "secrets")
            self("up", "--detach", *services)
            # Not for the one that does its work and ends: that is taken for a failure now and then.
            lasting = [one for one in services or self("config", "--services").split() if one != "secrets"]
            self("up", "--detach", "--no-recreate", "--wait", "--wait-timeout", "180", *lasting)
            yield self
        finally:
            self("down", "--volumes", "--remove-orphans", "--timeout", "2")

    def address(self, service: str, port: int) -> str:
        """Where it is published; a restarted container is on another port."""
        return self("port", service, str(port)).strip()

    def get(self, service: str, port: int, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.address(service, port)}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def query(self, expression: str, *, service: str = "prometheus") -> list[dict[str, Any]]:
        """What Prometheus answers."""
        answer = self.get(service, 9090, f"/api/v1/query?query={urllib.parse.quote(expression)}")
        return list(json.loads(answer)["data"]["result"])

    def eventually(
        self, expression: str, *, within_s: float = 90, service: str = "prometheus"
    ) -> list[dict[str, Any]]:
        """The same, once there is an answer; a server that has just been restarted does not listen at first."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                if result := self.query(expression, service=service):
                    return result
                trouble = "it found nothing"
            except OSError as error:
                trouble = str(error)
            if time.monotonic() >= deadline:
                pytest.fail(
                    f"no answer to {expression}: {trouble}\n{self('logs', '--tail', '20', 'poller', 'bridge')}"
                )
            time.sleep(0.5)

    def container(self, service: str) -> str:
        return self("ps", "--all", "--quiet", service).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        return dict(json.loads(docker("inspect", self.container(service)))[0])
