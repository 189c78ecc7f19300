"""Prometheus scrapes a running engine and answers questions about it; its checks find nothing wrong with figures and rules."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.box import Box

RULES = Path("docs/prometheus/alerts.yml")


@pytest.fixture
def installed() -> None:
    if not (shutil.which("prometheus") and shutil.which("promtool")):
        pytest.skip("prometheus is not installed; on Debian and Ubuntu: apt install prometheus")


@pytest.fixture
def prometheus(box: Box, tmp_path: Path, installed: None) -> Iterator[str]:
    """One that scrapes the engine ten times a second; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 100ms}\n"
        f"rule_files: [{RULES.absolute()}]\n"
        "scrape_configs:\n"
        "  - job_name: citadel\n"
        f"    authorization: {{credentials: {box.key}}}\n"
        f"    static_configs: [{{targets: ['{box.address}']}}]\n"
    )
    arguments = [
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
    ]
    serving = subprocess.Popen(["prometheus", *arguments, "--log.level=error"])
    try:
        yield f"http://{address}"
    finally:
        serving.terminate()
        serving.wait(30)


def asked(address: str, query: str) -> dict[str, float]:
    """By device, what the query gives now; nothing while Prometheus comes up."""
    ran = subprocess.run(
        ["promtool", "query", "instant", "--format=json", address, query], capture_output=True, text=True, check=False
    )
    rows = json.loads(ran.stdout or "[]") if ran.returncode == 0 else []
    return {row["metric"].get("device", ""): float(row["value"][1]) for row in rows}


def test_the_figures_are_as_prometheus_wants_them(box: Box, installed: None) -> None:
    status, text = box.get("/metrics")
    assert status == 200
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_alert_rules_are_rules(installed: None) -> None:
    checked = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_is_scraped_can_be_asked_for(box: Box, prometheus: str) -> None:
    query = 'citadel_device_memory_bytes{kind="total"}'
    while not (found := asked(prometheus, query)):
        time.sleep(0.1)  # until it has scraped once
    assert found["gpu0"] == found["gpu1"] == 200 << 20
    box.citadel("load", "judge", "--on", "gpu1", "--yes")
    while not asked(prometheus, 'citadel_model_ready{model="judge"} == 1').get("gpu1"):
        time.sleep(0.1)
    assert asked(prometheus, "up == 1")


def test_a_stopped_worker_makes_it_not_ready_while_it_lives(box: Box) -> None:
    devices = {device["id"]: device for device in json.loads(box.citadel("status", "--json"))["devices"]}
    os.kill(devices["gpu1"]["worker_pid"], signal.SIGSTOP)
    while box.get("/ready")[0] == 200:
        time.sleep(0.1)
    assert box.get("/health")[0] == 200
    while box.get("/ready")[0] != 200:
        time.sleep(0.1)  # until another worker has taken its place
