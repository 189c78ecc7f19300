"""A hub on loopback: the routes that fetching a model asks for, with ranges, tokens, and a line that breaks when it is to."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

COMMIT: Final = "c" * 40
LARGE: Final = ".safetensors"
"""Files that have a SHA-256, as those in large-file storage do; others have git's SHA-1."""


class Hub:
    """One repository, `org/model`, and what was asked for it."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.cuts: list[int] = []
        """After so many bytes of a large file the line breaks, each once."""
        self.token = ""
        """Without it nobody is served, where it is not empty."""
        self.gated = False
        self.damaged = False
        """Whether large files come with other bytes than are listed."""
        self.honours_ranges = True
        self.listed_bytes: int | None = None
        """Of large files, where it is not what they have."""
        self.asked: list[tuple[str, str]] = []
        """Path and range of each GET of a file."""
        self.may_go_on = threading.Event()
        """Until it is set, a line that is to break stands still instead."""
        self.may_go_on.set()

    def listing(self) -> dict[str, object]:
        siblings = [self._sibling(name, content) for name, content in self.files.items()]
        return {
            "id": "org/model",
            "modelId": "org/model",
            "sha": COMMIT,
            "siblings": siblings,
            "tags": [],
            "private": False,
        }

    def _sibling(self, name: str, content: bytes) -> dict[str, object]:
        git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        said: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": git}
        if name.endswith(LARGE):
            said["size"] = self.listed_bytes or len(content)
            said["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return said


@contextmanager
def serving_hub(hub: Hub) -> Iterator[str]:
    """Its address."""

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        hub.may_go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Hub

    def do_GET(self) -> None:
        hub, path = self.served, self.path.partition("?")[0]
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self._refuse(401, "RepoNotFound")
        elif hub.gated:
            self._refuse(403, "GatedRepo")
        elif path in ("/api/models/org/model", "/api/models/org/model/revision/v2"):
            self._send(200, json.dumps(hub.listing()).encode(), {"Content-Type": "application/json"})
        elif path.startswith("/api/models/org/model/revision/"):
            self._refuse(404, "RevisionNotFound")
        elif path.startswith(f"/org/model/resolve/{COMMIT}/"):
            self._file(path.removeprefix(f"/org/model/resolve/{COMMIT}/"))
        else:
            self._refuse(404, "RepoNotFound")

    def _file(self, name: str) -> None:
        hub, content = self.served, self.served.files[name]
        asked = self.headers.get("Range", "")
        hub.asked.append((name, asked))
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and hub.honours_ranges else 0
        if hub.damaged and name.endswith(LARGE):
            content = content[:-1] + b"!"
        extra = {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"} if begin else {}
        rest = content[begin:]
        cut = hub.cuts.pop(0) if hub.cuts and name.endswith(LARGE) else len(rest)
        self._send(206 if begin else 200, rest, extra, cut)

    def _send(self, status: int, body: bytes, extra: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**extra, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        self.wfile.flush()
        if cut is not None and cut < len(body):
            self.served.may_go_on.wait()
            self.close_connection = True

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def log_message(self, format: str, *arguments: object) -> None:
        """Nobody reads it."""
