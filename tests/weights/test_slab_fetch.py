"""A slab that is fetched is the one that was prepared, or is not taken; a line that breaks costs what had not come, no more."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import select
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

from engine.core.models import ModelSpec
from engine.slab_peer import OfferedFile, SlabOffer
from engine.weights import slab_fetch
from engine.weights.errors import DiskFull, NotWritable, ReadStopped, WeightsError
from engine.weights.integrity import verify_checksum
from engine.weights.layout import LAYOUT_FILE, SLAB_FILE, SlabEntry, TensorFacts, place
from engine.weights.slab import Prepared, SlabContents, open_prepared, write_prepared
from engine.weights.slab_fetch import OfferRefused, fetch_slab
from engine.weights.slab_server import MOST_READERS, SlabServer
from engine.weights.sources import Source, prepared_folder
from tests.faults.mutations import mutations
from tests.patience import Patience
from tests.weights.checkpoints import write_checkpoint

HERE = "127.0.0.1"
NUMBERS = np.arange(3 << 18, dtype=np.float32)
FACTS = TensorFacts("a", "parameter", "F32", NUMBERS.shape, (1,), NUMBERS.nbytes)
NEVER = threading.Event()


class Machine(NamedTuple):
    """A box with a checkpoint of the model."""

    spec: ModelSpec
    source: Source
    cache: Path

    @property
    def folder(self) -> Path:
        return prepared_folder(self.spec, self.source, self.cache)

    def prepare(self) -> Prepared:
        contents = SlabContents("BertModel", self.source.text, place([FACTS]), ())

        def value(_entry: SlabEntry) -> memoryview:
            return memoryview(NUMBERS.tobytes())

        return write_prepared(self.folder, self.source.folder, contents, value, lambda _: None)

    def fetch(self, offer: SlabOffer, stop: threading.Event = NEVER) -> int:
        return fetch_slab(self.spec, self.source, self.folder, offer, stop).came_bytes

    @property
    def kept(self) -> list[Path]:
        return [path for path in (self.cache / "fetched").rglob("*") if path.is_file()]


def machine(at: Path) -> Machine:
    checkpoint = write_checkpoint(at / "checkpoint")
    (checkpoint / "1_Pooling").mkdir()
    (checkpoint / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    text = f"path:{checkpoint}"
    return Machine(ModelSpec("m", (text,), "embedding"), Source(text, checkpoint), at / "cache")


def offer_of(prepared: Prepared, port: int, ticket: str) -> SlabOffer:
    return SlabOffer(HERE, port, ticket, _files(prepared.folder), prepared.layout_id, "float32")


def _paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _files(folder: Path) -> tuple[OfferedFile, ...]:
    return tuple(OfferedFile(str(path.relative_to(folder)), path.stat().st_size) for path in _paths(folder))


class Boxes(NamedTuple):
    """One that has the model prepared and offers it, and one that has not."""

    donor: Machine
    server: SlabServer
    offer: SlabOffer
    other: Machine


@pytest.fixture
def boxes(tmp_path: Path) -> Iterator[Boxes]:
    donor, other = machine(tmp_path / "box1"), machine(tmp_path / "box2")
    prepared = donor.prepare()
    with closing(SlabServer(HERE, 0, 60.0)) as server:
        yield Boxes(donor, server, offer_of(prepared, server.port, server.offer(_paths(prepared.folder))), other)


@contextmanager
def line(to_port: int, altered: Callable[[int, bytes], bytes | None]) -> Iterator[int]:
    """A line to that port, at the one that it yields. `altered` gets the number of each connection, from 0, and all that the peer
    answers on it, and says what of that comes through; None hangs up."""
    listening = socket.create_server((HERE, 0))

    def carry() -> None:
        for number in range(100):
            try:
                near, _ = listening.accept()
            except OSError:
                return
            with near, socket.create_connection((HERE, to_port)) as far:
                far.sendall(near.recv(1 << 16))
                far.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda far=far: far.recv(1 << 20), b""))  # type: ignore[misc]
                if (said := altered(number, answer)) is not None:
                    near.sendall(said)

    carrying = threading.Thread(target=carry)
    carrying.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        carrying.join()


def _is_slab(answer: bytes) -> bool:
    return len(answer) > NUMBERS.nbytes // 8


def test_what_is_fetched_is_what_was_prepared_byte_for_byte(boxes: Boxes) -> None:
    donor, _, offer, other = boxes
    assert other.fetch(offer) == sum(file.size_bytes for file in offer.files)
    assert other.folder != donor.folder
    mine, theirs = open_prepared(other.folder), open_prepared(donor.folder)
    assert mine.layout_id == theirs.layout_id == hashlib.sha256((donor.folder / LAYOUT_FILE).read_bytes()).hexdigest()
    verify_checksum(mine, lambda _: None)
    for file in offer.files:
        assert (other.folder / file.name).read_bytes() == (donor.folder / file.name).read_bytes()
    assert not other.kept


def test_what_is_there_is_not_fetched_again(boxes: Boxes) -> None:
    boxes.other.prepare()
    assert boxes.other.fetch(boxes.offer) == 0


def test_a_line_that_breaks_half_way_costs_what_had_not_come(boxes: Boxes) -> None:
    halves: list[int] = []

    def halved(number: int, answer: bytes) -> bytes | None:
        if not _is_slab(answer):
            return answer
        halves.append(number)
        return answer[: len(answer) // 2] if len(halves) <= 2 else None

    total = sum(file.size_bytes for file in boxes.offer.files)
    with line(boxes.server.port, halved) as port, pytest.raises(WeightsError, match="breaks again and again"):
        boxes.other.fetch(replace(boxes.offer, port=port))
    kept_bytes = sum(path.stat().st_size for path in boxes.other.kept)
    assert len(halves) == 4  # the second half came at the first try without a break, and then two more brought nothing
    assert 0.74 < kept_bytes / total < 0.76
    assert not boxes.other.folder.exists()
    assert boxes.other.fetch(boxes.offer) == total - kept_bytes
    verify_checksum(open_prepared(boxes.other.folder), lambda _: None)


def test_a_peer_that_gives_other_bytes_is_refused_and_nothing_of_it_stays(boxes: Boxes) -> None:
    def flipped(_number: int, answer: bytes) -> bytes:
        return answer if not _is_slab(answer) else answer[:-1000] + bytes([answer[-1000] ^ 1]) + answer[-999:]

    with line(boxes.server.port, flipped) as port, pytest.raises(OfferRefused, match="does not have its checksum"):
        boxes.other.fetch(replace(boxes.offer, port=port))
    assert not boxes.other.folder.exists()
    assert not boxes.other.kept


def test_another_header_than_the_layout_says_is_refused(boxes: Boxes) -> None:
    def flipped(_number: int, answer: bytes) -> bytes:
        head = answer.index(b"\r\n\r\n") + 4 + 20
        return answer if not _is_slab(answer) else answer[:head] + bytes([answer[head] ^ 1]) + answer[head + 1 :]

    with line(boxes.server.port, flipped) as port, pytest.raises(OfferRefused, match="does not have its checksum"):
        boxes.other.fetch(replace(boxes.offer, port=port))
    assert not boxes.other.folder.exists()


def test_a_layout_that_is_not_the_announced_one_is_refused(boxes: Boxes) -> None:
    with pytest.raises(OfferRefused, match="does not have its checksum"):
        boxes.other.fetch(replace(boxes.offer, layout_id="0" * 64))
    assert not boxes.other.kept


def test_a_slab_of_other_files_than_are_here_is_refused(boxes: Boxes) -> None:
    (boxes.other.source.folder / "tokenizer.json").write_text('{"another": 1}')
    with pytest.raises(OfferRefused, match="made of other files than"):
        boxes.other.fetch(boxes.offer)
    assert not boxes.other.folder.exists()
    assert not boxes.other.kept


@pytest.mark.parametrize(
    "files",
    [
        (),
        (OfferedFile("../../evil", 1),),
        (OfferedFile("/etc/passwd", 1),),
        (OfferedFile("./config.json", 1),),
        (OfferedFile(".", 1),),
        (OfferedFile("tokenizer.json", -1),),
        (OfferedFile("tokenizer.json", 3 << 30),),
        tuple(OfferedFile(f"{number}.json", 1) for number in range(1001)),
    ],
)
def test_an_offer_that_is_no_prepared_model_is_refused_before_anything_is_fetched(
    boxes: Boxes, files: tuple[OfferedFile, ...]
) -> None:
    named = [file for file in boxes.offer.files if file.name in (LAYOUT_FILE, SLAB_FILE)]
    with pytest.raises(OfferRefused, match="no prepared model"):
        boxes.other.fetch(replace(boxes.offer, files=(*named, *files) if files else ()))
    assert not (boxes.other.cache / "fetched").exists()


def test_a_file_that_is_none_of_the_models_is_refused(boxes: Boxes) -> None:
    with pytest.raises(OfferRefused, match=r"offers extra\.json, which is no file of the model's"):
        boxes.other.fetch(replace(boxes.offer, files=(*boxes.offer.files, OfferedFile("extra.json", 1))))


@pytest.mark.parametrize("other", [{"dtype": "float16"}, {"recipe": "bert-0123"}])
def test_another_dtype_or_recipe_is_another_model(boxes: Boxes, other: dict[str, str]) -> None:
    with pytest.raises(OfferRefused, match="here it is float32, of a checkpoint"):
        boxes.other.fetch(replace(boxes.offer, **other))


def test_an_offer_that_has_ended_keeps_what_came(boxes: Boxes) -> None:
    with pytest.raises(WeightsError, match="status 404"):
        boxes.other.fetch(replace(boxes.offer, ticket="0" * 64))


def test_a_machine_that_is_not_there_is_given_up_in_words(boxes: Boxes) -> None:
    boxes.server.close()
    with pytest.raises(
        WeightsError, match=r"the line to 127\.0\.0\.1:\d+ breaks again and again \(Connection refused\)"
    ):
        boxes.other.fetch(boxes.offer)


def test_taken_back_it_ends_and_what_came_is_kept(boxes: Boxes) -> None:
    stop = threading.Event()

    def stopped(_number: int, answer: bytes) -> bytes:
        if _is_slab(answer):
            stop.set()
            return answer[: len(answer) // 2]
        return answer

    with line(boxes.server.port, stopped) as port, pytest.raises(ReadStopped):
        boxes.other.fetch(replace(boxes.offer, port=port), stop)
    assert boxes.other.kept
    assert not boxes.other.folder.exists()


def test_what_came_of_a_fetch_goes_once_the_model_is_prepared_here(boxes: Boxes) -> None:
    with line(boxes.server.port, lambda _number, _answer: None) as port, pytest.raises(WeightsError):
        boxes.other.fetch(replace(boxes.offer, port=port))
    assert boxes.other.kept
    boxes.other.prepare()
    assert not boxes.other.kept


def test_what_nobody_has_gone_on_with_for_a_week_goes_when_another_model_is_fetched(boxes: Boxes) -> None:
    for name, days in (("gone", 8), ("young", 6)):
        part = boxes.other.cache / "fetched" / name / ("0" * 64) / "slab.safetensors"
        part.parent.mkdir(parents=True)
        part.touch()
        for path in (part, part.parent, part.parent.parent):
            os.utime(path, times=(time.time() - days * 86400,) * 2)
    boxes.other.fetch(boxes.offer)
    assert [path.parent.parent.name for path in boxes.other.kept] == ["young"]


def test_no_room_is_said_before_anything_comes(boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1 << 20))
    with pytest.raises(DiskFull, match="whose disk has 1 MiB free"):
        boxes.other.fetch(boxes.offer)


def test_a_disk_that_fills_meanwhile_is_no_broken_line(boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fetching: object, *_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "slab.safetensors")

    monkeypatch.setattr(slab_fetch._Fetching, "_stream", full)
    with pytest.raises(NotWritable, match="No space left on device"):
        boxes.other.fetch(boxes.offer)


def test_two_processes_do_not_fetch_the_same_model_at_once(boxes: Boxes) -> None:
    said: list[str] = []

    def meanwhile(number: int, answer: bytes) -> bytes:
        if number == 0:
            with pytest.raises(WeightsError) as refused:
                boxes.other.fetch(boxes.offer)
            said.append(str(refused.value))
        return answer

    with line(boxes.server.port, meanwhile) as port:
        boxes.other.fetch(replace(boxes.offer, port=port))
    assert len(said) == 1
    assert "another process fetches" in said[0]


# ── who gives ────────────────────────────────────────────────────────────────────────────────────


def _status(port: int, path: str, headers: dict[str, str] | None = None) -> int:
    with closing(http.client.HTTPConnection(HERE, port, timeout=20)) as connection:
        connection.request("GET", path, headers=headers or {})
        return connection.getresponse().status


def test_without_the_ticket_nothing_is_given(boxes: Boxes) -> None:
    ticket = boxes.offer.ticket
    assert _status(boxes.server.port, f"/{ticket}/0") == 200
    for path in ("/", f"/{'0' * 64}/0", f"/{ticket}/99", f"/{ticket}/../0", f"/{ticket}/-1", f"/{ticket}"):
        assert _status(boxes.server.port, path) == 404, path


def test_requests_that_are_none_end_their_own_connections_and_no_more(boxes: Boxes) -> None:
    samples = (
        f"GET /{boxes.offer.ticket}/0 HTTP/1.1\r\nHost: a\r\nRange: bytes=3-\r\nConnection: close\r\n\r\n".encode(),
        b"POST /a HTTP/1.0\r\nContent-Length: 5\r\n\r\nabcde",
    )
    for request in mutations(samples, seed=21, count=200):
        with suppress(OSError), socket.create_connection((HERE, boxes.server.port), timeout=20) as stranger:
            stranger.sendall(request)
            stranger.shutdown(socket.SHUT_WR)
            while stranger.recv(1 << 16):
                pass
    assert boxes.other.fetch(boxes.offer) > 0


def test_a_range_begins_where_it_was_asked_to(boxes: Boxes) -> None:
    number = [file.name for file in boxes.offer.files].index("config.json")
    path = f"/{boxes.offer.ticket}/{number}"
    written = (boxes.donor.folder / "config.json").read_bytes()
    with closing(http.client.HTTPConnection(HERE, boxes.server.port, timeout=20)) as connection:
        for begin in (0, 5, len(written) - 1, len(written)):
            connection.request("GET", path, headers={"Range": f"bytes={begin}-"})
            response = connection.getresponse()
            assert (response.status, response.read()) == (206, written[begin:])


def test_an_offer_ends_a_while_after_it_was_last_read_of(boxes: Boxes) -> None:
    now_s = [0.0]
    with closing(SlabServer(HERE, 0, 60.0, lambda: now_s[0])) as server:
        ticket = server.offer(_paths(boxes.donor.folder))
        now_s[0] = 59.0
        assert server.file(ticket, 0) is not None
        now_s[0] = 118.0
        assert not server.is_idle()
        now_s[0] = 120.0
        assert server.is_idle()
        assert server.file(ticket, 0) is None


def test_many_strangers_take_no_more_threads_than_there_are_for_readers(boxes: Boxes) -> None:
    before = threading.active_count()
    with ExitStack() as stack:
        address = HERE, boxes.server.port
        strangers = [stack.enter_context(socket.create_connection(address)) for _ in range(4 * MOST_READERS)]
        patience = Patience()
        while patience and sum(map(_is_hung_up, strangers)) < 3 * MOST_READERS:
            time.sleep(0.01)
        assert sum(map(_is_hung_up, strangers)) == 3 * MOST_READERS
        assert threading.active_count() <= before + MOST_READERS


def _is_hung_up(stranger: socket.socket) -> bool:
    readable, _, _ = select.select([stranger], [], [], 0)
    return bool(readable)
