"""A served engine, as a client's test sees it: an address, a key, and `citadel` for what the clients can't do."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path


class Box:
    """An engine with a home and a configuration of its own."""

    def __init__(self, python: str, home: Path, config: Path, port: int) -> None:
        self.python = python
        self.home = home
        self.config = config
        self.address = f"127.0.0.1:{port}"
        self.key = ""
        self.environment = {
            **os.environ,
            "CITADEL_HOME": str(home),
            "CITADEL_CONFIG": str(config),
            "HF_HUB_OFFLINE": "1",
        }

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def citadel(self, *arguments: str) -> str:
        """What the command prints."""
        return self.run("-m", "citadel_tui", *arguments)

    def run(self, *arguments: str) -> str:
        ran = subprocess.run(
            [self.python, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        return self._answered(urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.key}"}))

    def _answered(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def post(self, path: str, body: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Status and body."""
        given = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", **(headers or {})}
        return self._answered(urllib.request.Request(self.url + path, body.encode(), given))

    def leases(self, model: str) -> int:
        """Requests that run on the model."""
        models = {known["name"]: known for known in json.loads(self.citadel("status", "--json"))["models"]}
        return sum(place["leases"] for place in models[model]["places"])

    def wait_until_ready(self, serving: subprocess.Popen[bytes]) -> None:
        while True:
            assert serving.poll() is None, "the engine ended while it started"
            try:
                if self.get("/ready")[0] == 200:
                    return
            except OSError:
                pass  # it does not listen yet
            time.sleep(0.05)
