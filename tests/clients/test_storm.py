"""Many at once, and some who mean no good: what is admitted is answered, the rest is refused, and the engine goes on."""

from __future__ import annotations

import json
import re
import resource
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.box import Box

BODY = json.dumps({"model": "all-MiniLM-L6-v2", "input": "a cat sits on the mat"})


def test_none_of_256_requests_fails_while_a_model_is_added_and_taken_away(box: Box, tmp_path: Path) -> None:
    if not shutil.which("hey"):
        pytest.skip("hey is not installed; on Debian and Ubuntu: apt install hey")
    storming = box.citadel("keys", "add", "hey").strip()  # as many as a key may have at once: its own, then
    hey = subprocess.Popen(
        [
            *("hey", "-n", "256", "-c", "64", "-t", "0", "-m", "POST", "-T", "application/json"),
            *("-H", f"Authorization: Bearer {storming}", "-d", BODY, f"{box.url}/v1/embeddings"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    shutil.copytree(box.config / "judge", tmp_path / "second")
    box.citadel("models", "add", f"path:{tmp_path / 'second'}", "--name", "second", "--task", "rerank")
    assert "second" in box.get("/v1/models")[1]
    box.citadel("models", "rm", "second")
    assert "second" not in box.get("/v1/models")[1]
    told, _ = hey.communicate()
    assert hey.returncode == 0
    assert re.findall(r"\[(\d+)\]\s+(\d+) responses", told) == [("200", "256")], told


def test_a_body_of_20_megabytes_is_refused_with_the_limit(box: Box) -> None:
    status, text = box.post("/v1/embeddings", json.dumps({"model": "all-MiniLM-L6-v2", "input": "x" * (20 << 20)}))
    assert status == 413
    assert "16 MiB" in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.example"}, 403), ({"Origin": "https://evil.example"}, 403), ({"Authorization": ""}, 401)],
)
def test_another_host_another_origin_and_no_key_are_refused(box: Box, headers: dict[str, str], status: int) -> None:
    assert box.post("/v1/embeddings", BODY, headers)[0] == status


def test_thousands_who_connect_and_say_nothing_keep_nobody_out(box: Box) -> None:
    host, port = box.address.split(":")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 1 << 16 if files == resource.RLIM_INFINITY else min(files, 1 << 16)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    # a connection is a file on either end; the engine keeps a quarter of its own for itself
    silent = [socket.create_connection((host, int(port))) for _ in range(min(10_000, files // 2))]
    slow = [socket.create_connection((host, int(port))) for _ in range(50)]
    for connection in slow:
        connection.sendall(
            f"POST /v1/embeddings HTTP/1.1\r\nHost: {box.address}\r\nContent-Length: 999\r\n\r\n{{".encode()
        )
    try:
        with ThreadPoolExecutor(16) as asking:
            answers = list(asking.map(lambda _: box.post("/v1/embeddings", BODY)[0], range(64)))
        assert answers == [200] * 64
    finally:
        for connection in (*silent, *slow):
            connection.close()
    assert box.get("/ready")[0] == 200
