"""Prepared slabs given to other machines: a plain HTTP server on threads of its own, which listens only while something is on
offer. The kernel carries the bytes from the file to the line (`sendfile`), so that the engine's loop has no part in it.

Plain, because encryption would have every byte copied and computed: what tells friend from foe is a ticket of 256 bits, made for
one offer, which travels by the way that the two engines' own words do.
"""

from __future__ import annotations

import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from typing import Any, Final, NamedTuple

MOST_READERS: Final = 16
"""Connections at once; more are hung up on. Each has a thread."""
SILENT_S: Final = 20.0
"""A reader that takes nothing for so long is hung up on."""
_LOOKS_S: Final = 0.1
"""Between two looks at whether it is to end."""
_RANGE: Final = re.compile(r"bytes=(\d{1,18})-\Z")
_PATH: Final = re.compile(r"/([0-9a-f]{64})/(\d{1,6})\Z")


class _Offered(NamedTuple):
    files: tuple[Path, ...]
    until_s: float
    """On the steady clock."""


class SlabServer:
    """Files on offer at one address. All methods may be called from any thread."""

    def __init__(self, host: str, port: int, lasts_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """An offer ends `lasts_s` after somebody last read of it. Raises OSError where nothing can listen there."""
        self._lasts_s: Final = lasts_s
        self._monotonic: Final = monotonic
        self._offers: Final[dict[str, _Offered]] = {}
        self._lock: Final = threading.Lock()
        self._server: Final = _Server((host, port), self)
        threading.Thread(target=self._server.serve_forever, args=(_LOOKS_S,), name="slabs", daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def offer(self, files: Sequence[Path]) -> str:
        """The ticket by which they are read, each by its number."""
        ticket = secrets.token_hex(32)
        with self._lock:
            self._offers[ticket] = _Offered(tuple(files), self._monotonic() + self._lasts_s)
        return ticket

    def is_idle(self) -> bool:
        """Forget what nobody reads any more; whether nothing is on offer then."""
        if self._server.readers:  # a large file takes longer than an offer lasts, and may have to be gone on with
            return False
        with self._lock:
            for ticket in [one for one, offered in self._offers.items() if offered.until_s < self._monotonic()]:
                del self._offers[ticket]
            return not self._offers

    def close(self) -> None:
        """Listen no more; who reads still is hung up on."""
        self._server.shutdown()
        self._server.server_close()
        with self._lock:
            self._offers.clear()

    def file(self, ticket: str, number: int) -> Path | None:
        """What somebody may read, whose offer lasts longer by that; None for what is not on offer."""
        with self._lock:
            found = next((one for one in self._offers if hmac.compare_digest(one, ticket)), None)
            if found is None or number >= len(self._offers[found].files):
                return None
            files = self._offers[found].files
            self._offers[found] = _Offered(files, self._monotonic() + self._lasts_s)
            return files[number]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 4 * MOST_READERS

    def __init__(self, address: tuple[str, int], slabs: SlabServer) -> None:
        self.slabs: Final = slabs
        self._room: Final = threading.Semaphore(MOST_READERS)
        self.readers: Final[set[socket]] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the library has it
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self.readers.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.readers.discard(request)
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """A reader that has gone, or sends what is no HTTP, is nobody's trouble but its own."""

    def server_close(self) -> None:
        super().server_close()
        for reader in tuple(self.readers):
            self.shutdown_request(reader)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SILENT_S
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Citadel", ""

    def do_GET(self) -> None:
        asked = _PATH.match(self.path)
        path = self.server.slabs.file(asked[1], int(asked[2])) if asked else None
        try:
            if path is None:
                raise FileNotFoundError
            file = path.open("rb")
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND, "not on offer")
            return
        with file:
            size_bytes = path.stat().st_size
            wanted = _RANGE.match(self.headers.get("Range", ""))
            begin = min(int(wanted[1]), size_bytes) if wanted else 0
            self.send_response(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK)
            self.send_header("Content-Length", str(size_bytes - begin))
            self.send_header("Content-Type", "application/octet-stream")
            if wanted:
                self.send_header("Content-Range", f"bytes {begin}-{size_bytes - 1}/{size_bytes}")
            self.end_headers()
            if begin < size_bytes:
                self.wfile.flush()
                self.connection.sendfile(file, begin, size_bytes - begin)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: ANN401
        """The engines say what was fetched."""
