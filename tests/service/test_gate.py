"""Who may ask for what: users, versions, read-only clients; and what a wrong request is told."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from pwd import getpwuid
from socket import AF_UNIX, socketpair

import msgspec
import pytest

from engine.api import PROTOCOL, CannotServe, EngineError, EngineUnreachable, ReadOnly, Snapshot, UnknownModel
from engine.client import RemoteEngine, connect
from engine.core.catalog import CatalogChange
from engine.core.commands import Load, Submission
from engine.core.plans import Plan
from engine.paths import Paths
from engine.service.gate import foreign
from engine.settings.problems import SettingsError
from engine.transport import HttpRequest, UnixSocket, exchange, peer_of
from engine.wire import STATUS, ErrorBody, error_in, problem_of
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving


async def _error(socket: Path, request: HttpRequest) -> tuple[int, str]:
    head, body = await exchange(UnixSocket(socket), request, 5)
    return head.status, msgspec.json.decode(body, type=ErrorBody).error.message


async def test_a_read_only_client_may_look_and_plan_but_change_nothing(
    scripted: ScriptedEngine, remote: RemoteEngine, paths: Paths
) -> None:
    watcher = await connect(paths, read_only=True)
    assert isinstance(await watcher.plan(Load("bge-base")), Plan)
    for change in (
        watcher.submit(Submission("1", Load("bge-base"))),
        watcher.cancel("1"),
        watcher.embed("bge-base", ["a cat"]),
        watcher.generate("phi-3-mini", "a cat"),
        watcher.cancel_request(1),
        watcher.keep_quiet(15),
        watcher.reload(),
        watcher.restart_worker("gpu0"),
        watcher.stop(),
    ):
        with pytest.raises(ReadOnly, match="nothing was changed"):
            await change
    assert scripted.submissions == []
    assert not scripted.stopped
    assert not scripted.quiet
    assert scripted.reloads == 0
    assert scripted.restarted == []


async def test_a_client_of_another_version_is_told_both_versions(remote: RemoteEngine, paths: Paths) -> None:
    request = HttpRequest("GET", "/v1/snapshot", headers={"Citadel-Protocol": "99"})
    status, message = await _error(paths.socket, request)
    assert status == 426
    assert "version 99" in message
    assert f"version {PROTOCOL};" in message
    assert "citadel stop" in message


async def test_a_client_of_another_version_can_still_stop_the_engine(
    scripted: ScriptedEngine, remote: RemoteEngine, paths: Paths
) -> None:
    head, _body = await exchange(
        UnixSocket(paths.socket), HttpRequest("POST", "/v1/stop", headers={"Citadel-Protocol": "99"}), 5
    )
    assert head.status == 200
    assert scripted.stopped


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/v1/plan", b"{", 400, "the body of POST /v1/plan can't be read"),
        ("POST", "/v1/plan", b'{"type":"explode","model":"x"}', 400, "explode"),
        ("POST", "/v1/commands", b'{"id":7}', 400, "Expected `str`, got `int` - at `$.id`"),
        ("POST", "/v1/run", b'{"model":"x"}', 400, "missing required field `task`"),
        ("POST", "/v1/run", b'{"model":"x","task":{"type":"dream"}}', 400, "Invalid value 'dream' - at `$.task.type`"),
        ("POST", "/v1/run", b'{"model":"nobody","task":{"type":"embed","texts":["a"]}}', 404, "nobody"),
        ("GET", "/v1/events?after=soon", b"", 400, "after must be a whole number of at most 18 digits, not 'soon'"),
        ("GET", "/v1/records?limit=-1", b"", 400, "limit must be a whole number"),
        ("GET", "/v1/nowhere", b"", 404, "Not Found"),
        ("DELETE", "/v1/hello", b"", 405, "Method Not Allowed"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(
    remote: RemoteEngine, paths: Paths, method: str, path: str, body: bytes, status: int, words: str
) -> None:
    answered, message = await _error(paths.socket, HttpRequest(method, path, body))
    assert answered == status
    assert words in message
    assert "Traceback" not in message


async def test_a_bug_in_the_engine_is_an_error_and_not_a_silence(
    paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ScriptedEngine):
        async def snapshot(self) -> Snapshot:
            raise KeyError("gpu9")

    async with serving(Broken(), paths):
        with pytest.raises(EngineError, match=r"failed on GET /v1/snapshot .*gpu9"):
            await RemoteEngine(paths.socket).snapshot()
    assert "GET /v1/snapshot failed" in caplog.text


async def test_the_folder_and_the_socket_are_closed_to_others(remote: RemoteEngine, paths: Paths) -> None:
    assert paths.run.stat().st_mode & 0o777 == 0o700
    assert paths.socket.stat().st_mode & 0o777 == 0o600


def test_the_kernel_says_who_connected() -> None:
    ours, theirs = socketpair(AF_UNIX)
    with ours, theirs:
        assert peer_of(ours) == (os.getpid(), os.getuid())


async def test_the_engine_is_told_which_process_asks(scripted: ScriptedEngine, remote: RemoteEngine) -> None:
    await remote.embed("bge-base", ["a cat"])
    (asker,) = scripted.askers
    assert (asker.pid, asker.user) == (os.getpid(), getpwuid(os.getuid()).pw_name)
    assert asker.process == await asyncio.to_thread(lambda: Path("/proc/self/comm").read_text().strip())


def test_another_user_is_turned_away_and_oneself_is_not() -> None:
    refused = foreign(os.getuid() + 1)
    assert foreign(os.getuid()) is None
    assert refused is not None
    assert STATUS[refused.kind] == 403
    assert isinstance(error_in(msgspec.json.encode(ErrorBody(refused))), EngineUnreachable)


@pytest.mark.parametrize("kind", [EngineUnreachable, ReadOnly, UnknownModel, CannotServe, EngineError])
def test_an_error_arrives_as_what_it_was(kind: type[EngineError]) -> None:
    arrived = error_in(msgspec.json.encode(ErrorBody(problem_of(kind("gpu1 is full")))))
    assert type(arrived) is kind
    assert str(arrived) == "gpu1 is full"


async def test_a_mistake_in_a_file_of_the_operators_is_no_failure_of_the_engine(paths: Paths) -> None:
    class Mistaken(ScriptedEngine):
        async def reload(self) -> CatalogChange:
            raise SettingsError("The catalog was refused; nothing was changed.")

    async with serving(Mistaken(), paths):
        told = await _error(paths.socket, HttpRequest("POST", "/v1/reload"))
    assert told == (400, "The catalog was refused; nothing was changed.")
