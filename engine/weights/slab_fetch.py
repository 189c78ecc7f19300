"""Fetching another machine's prepared slab, so that it need not be prepared here, and taking it for ours only once all is proven.

What comes is kept until it is whole, beside the prepared folders, and the next try goes on with it. The peer's word counts for
nothing that can be checked: its layout must be the one that was announced, each byte that which the layout has a checksum of, and
the files that it was made of those that this machine has.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from io import FileIO
from pathlib import Path
from typing import Final

from engine.core.models import ModelSpec
from engine.core.serialization import Undecodable, from_sealed_json
from engine.core.sizes import format_room, format_size
from engine.core.texts import in_brief
from engine.slab_peer import OfferedFile, SlabFetched, SlabOffer, fault_of_address
from engine.weights.checkpoint_json import lies_within
from engine.weights.errors import BadCheckpoint, DiskFull, NotWritable, ReadStopped, WeightsError
from engine.weights.layout import LAYOUT_FILE, SLAB_FILE, Layout, header_bytes
from engine.weights.slab import open_prepared, parts_folder
from engine.weights.source_files import hashing, reads
from engine.weights.sources import Source
from engine.weights.workplace import clear, publish

TRIES: Final = 3
"""In a row that bring nothing; the first comes at once, the others after a pause."""
MOST_FILES: Final = 1000
MOST_BESIDE_BYTES: Final = 2 << 30
"""Of all files but the slab itself."""
_MOST_LAYOUT_BYTES: Final = 256 << 20
_CONNECTS_WITHIN_S: Final = 3.0
_PIECE_BYTES: Final = 1 << 20
_KEPT_S: Final = 7 * 86400.0
"""What came of a fetch that nobody has gone on with for so long goes when another model is fetched."""


class OfferRefused(WeightsError):
    """What another machine offers is not this machine's model, or not what it was said to be."""


def fetch_slab(spec: ModelSpec, source: Source, folder: Path, offer: SlabOffer, stop: threading.Event) -> SlabFetched:
    """Have the prepared folder of the model, whose source here is `source`, in its place. Blocks for as long as it takes: call it
    in a thread. Raises WeightsError, as OfferRefused, DiskFull, NotWritable, or ReadStopped once `stop` is set."""
    began_s = time.monotonic()
    if _is_whole(folder):
        return SlabFetched(0, 0.0)
    _check_offer(spec, source, offer)
    with _in_words(spec, folder), _held(folder, offer) as part:
        fetching = _Fetching(offer, part, stop)
        fetching.check_room()
        layout = fetching.layout()
        with hashing(source.folder) as source_sha256:
            fetching.fetch_companions(layout)
            fetching.fetch_slab(layout)
            # of a synthetic model, which is made only where it is needed, there may be none
            if source.folder.is_dir() and source_sha256.result() != layout.source_sha256:
                raise OfferRefused(
                    f"the slab of {spec.name} at {offer.host} was made of other files than {source.folder} has; nothing of it"
                    " was kept"
                )
        if not _is_whole(folder):  # somebody may have prepared it meanwhile
            folder.parent.mkdir(parents=True, exist_ok=True)
            publish(part, folder)
        open_prepared(folder)
    return SlabFetched(fetching.came_bytes, time.monotonic() - began_s)


def _check_offer(spec: ModelSpec, source: Source, offer: SlabOffer) -> None:
    """Raises OfferRefused."""
    if fault := fault_of_address(offer.host):
        raise OfferRefused(f"nothing is fetched from there: {fault}")
    recipe = source.folder.name if source.synthetic_kind is not None else ""
    if offer.dtype != spec.dtype or offer.recipe != recipe:
        raise OfferRefused(
            f"{offer.host} has {spec.name} in {offer.dtype}, made of {offer.recipe or 'a checkpoint'}; here it is {spec.dtype},"
            f" of {recipe or 'a checkpoint'}"
        )
    names = [file.name for file in offer.files]
    beside_bytes = sum(file.size_bytes for file in offer.files if file.name != SLAB_FILE)
    is_sound = (
        len(names) <= MOST_FILES
        and len(set(names)) == len(names)
        and {LAYOUT_FILE, SLAB_FILE} <= set(names)
        and re.fullmatch(r"[0-9a-f]{64}", offer.layout_id) is not None
        and all(lies_within(name) and name == str(Path(name)) != "." for name in names)
        and min(file.size_bytes for file in offer.files) >= 0
        and beside_bytes <= MOST_BESIDE_BYTES
    )
    if not is_sound:
        raise OfferRefused(f"{offer.host} offers for {spec.name} what is no prepared model; nothing was fetched")


class _Fetching:
    """The files of one offer."""

    def __init__(self, offer: SlabOffer, part: Path, stop: threading.Event) -> None:
        self._offer: Final = offer
        self._part: Final = part
        self._stop: Final = stop
        self._numbers: Final = {file.name: number for number, file in enumerate(offer.files)}
        self._piece: Final = memoryview(bytearray(_PIECE_BYTES))
        self.came_bytes = 0

    def check_room(self) -> None:
        """Raises DiskFull."""
        there_bytes = sum(path.stat().st_size for path in self._part.rglob("*") if path.is_file())
        needed_bytes = sum(file.size_bytes for file in self._offer.files) - there_bytes
        free_bytes = shutil.disk_usage(self._part).free
        if needed_bytes > free_bytes:
            raise DiskFull(
                f"{format_size(needed_bytes)} were to be fetched to {self._part.parent.parent}, whose disk has"
                f" {format_room(free_bytes)} free; free some room, or set XDG_CACHE_HOME to a folder with more"
            )

    def layout(self) -> Layout:
        """What the slab is. Raises OfferRefused where it is another than was announced."""
        file = self._file(LAYOUT_FILE)
        if file.size_bytes > _MOST_LAYOUT_BYTES:
            raise OfferRefused(
                f"{self._offer.host} offers a layout of {format_size(file.size_bytes)}; nothing was kept"
            )
        self._have(file, self._offer.layout_id)
        try:
            layout: Layout = from_sealed_json((self._part / LAYOUT_FILE).read_bytes(), Layout)
        except Undecodable as error:
            raise OfferRefused(f"{self._offer.host} offers a slab whose layout can't be read: {error}") from error
        if self._file(SLAB_FILE).size_bytes != layout.data_offset + layout.length:
            raise OfferRefused(f"{self._offer.host} offers a slab of another size than its layout says")
        return layout

    def fetch_companions(self, layout: Layout) -> None:
        """What the model needs beside its weights. Raises OfferRefused."""
        for file in self._offer.files:
            if file.name in (LAYOUT_FILE, SLAB_FILE):
                continue
            sha256 = layout.source_sha256.get(file.name)
            if sha256 is None or not reads(Path(file.name).name, ".safetensors"):
                raise OfferRefused(f"{self._offer.host} offers {in_brief(file.name)}, which is no file of the model's")
            self._have(file, sha256)

    def fetch_slab(self, layout: Layout) -> None:
        """Raises OfferRefused."""
        header = header_bytes(layout.entries)
        if len(header) != layout.data_offset:
            raise OfferRefused(f"{self._offer.host} offers a slab whose layout does not fit it")
        self._have(self._file(SLAB_FILE), layout.sha256, header)

    def _file(self, name: str) -> OfferedFile:
        return self._offer.files[self._numbers[name]]

    def _have(self, file: OfferedFile, sha256: str, header: bytes = b"") -> None:
        """Have the file, whole and on the disk: `header`, then bytes of that checksum. Raises OfferRefused, and keeps nothing of
        it then."""
        path = self._part / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as into:
            proof = _Proof(header)
            if into.tell() > file.size_bytes:
                into.truncate(0)
            into.seek(0)
            while there := into.readinto(self._piece):
                self._go_on()
                proof.update(self._piece[:there])
            self._complete(file, into, proof)
            os.fsync(into.fileno())
        if not proof.is_of(sha256):
            path.unlink()
            raise OfferRefused(
                f"what came from {self._offer.host} as {in_brief(file.name)} does not have its checksum, and was thrown away"
            )

    def _complete(self, file: OfferedFile, into: FileIO, proof: _Proof) -> None:
        """Fetch what is missing, however often the line breaks, as long as each try brings something."""
        tries = 0
        while into.tell() < file.size_bytes:
            self._go_on()
            before_bytes = into.tell()
            try:
                self._stream(file, into, proof)
                cut = "it ended early"
            except (HTTPException, OSError) as error:
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
                    raise
                cut = getattr(error, "strerror", None) or str(error) or type(error).__name__
            tries = 1 if into.tell() > before_bytes else tries + 1
            if into.tell() < file.size_bytes and tries >= TRIES:
                raise WeightsError(
                    f"the line to {self._offer.host}:{self._offer.port} breaks again and again ({cut}); what came is kept"
                )
            if into.tell() < file.size_bytes and tries > 1:
                self._stop.wait(tries - 1)

    def _stream(self, file: OfferedFile, into: FileIO, proof: _Proof) -> None:
        """What is missing of it, as far as it comes. Raises HTTPException, OSError; WeightsError for what is no such answer."""
        line = HTTPConnection(self._offer.host, self._offer.port, timeout=_CONNECTS_WITHIN_S)
        try:
            line.request(
                "GET", f"/{self._offer.ticket}/{self._numbers[file.name]}", headers={"Range": f"bytes={into.tell()}-"}
            )
            with line.getresponse() as response:
                begin = f"bytes {into.tell()}-"
                if response.status != 206 or not (response.getheader("Content-Range") or "").startswith(begin):
                    raise WeightsError(
                        f"{self._offer.host} does not give {in_brief(file.name)} any more (status {response.status}); what came"
                        " is kept"
                    )
                while came := response.readinto(self._piece[: file.size_bytes - into.tell()]):
                    self._go_on()
                    _append(into, self._piece[:came])
                    proof.update(self._piece[:came])
                    self.came_bytes += came
        finally:
            line.close()

    def _go_on(self) -> None:
        """Raises ReadStopped."""
        if self._stop.is_set():
            raise ReadStopped("fetching was taken back; what came is kept")


def _append(into: FileIO, piece: memoryview) -> None:
    while piece:
        piece = piece[into.write(piece) :]


class _Proof:
    """Whether bytes are what they should be, as they come."""

    def __init__(self, header: bytes) -> None:
        self._header: Final = header
        self._digest: Final = hashlib.sha256()
        self._done_bytes = 0
        self._begins_right = True

    def update(self, piece: memoryview) -> None:
        before = self._header[self._done_bytes : self._done_bytes + len(piece)]
        self._begins_right &= piece[: len(before)] == before
        self._digest.update(piece[len(before) :])
        self._done_bytes += len(piece)

    def is_of(self, sha256: str) -> bool:
        return self._begins_right and self._done_bytes >= len(self._header) and self._digest.hexdigest() == sha256


def _is_whole(folder: Path) -> bool:
    try:
        open_prepared(folder)
    except BadCheckpoint:
        return False
    return True


@contextmanager
def _held(folder: Path, offer: SlabOffer) -> Iterator[Path]:
    """The folder of what came of this offer, while nobody else fetches the model; what came of others, and of one that was
    refused, goes, and so does what nobody goes on with of other models. Raises WeightsError."""
    parts = parts_folder(folder)
    parts.mkdir(parents=True, exist_ok=True)
    _clear_forgotten(parts)
    held = os.open(parts, os.O_RDONLY | os.O_DIRECTORY)
    part = parts / offer.layout_id
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WeightsError(f"another process fetches {parts.name} just now; wait for it") from None
        for other in set(parts.iterdir()) - {part}:
            shutil.rmtree(other, ignore_errors=True)
        part.mkdir(exist_ok=True)
        yield part
        shutil.rmtree(parts, ignore_errors=True)
    except OfferRefused:
        shutil.rmtree(parts, ignore_errors=True)
        raise
    finally:
        os.close(held)


def _clear_forgotten(parts: Path) -> None:
    """What came of other models than that of `parts`, and will not be taken up again."""
    for other in set(parts.parent.iterdir()) - {parts}:
        with suppress(FileNotFoundError):  # whoever fetches it is done
            changed_s = max(path.lstat().st_mtime for path in (other, *other.rglob("*")))
            if time.time() - changed_s > _KEPT_S:
                clear(other)


@contextmanager
def _in_words(spec: ModelSpec, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotWritable(
            f"{spec.name} can't be fetched: {error.filename or folder.parent} can't be written ({error.strerror}); what came is"
            " kept, and what is there is as it was"
        ) from error
