"""Prepared folders: writing one so that it is either whole or not there, and opening one only if it is whole."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from msgspec import Struct

from engine.core.serialization import Undecodable, from_json, from_sealed_json, to_sealed_json
from engine.core.sizes import format_room, format_size
from engine.weights.block_sums import BlockSums
from engine.weights.errors import BadCheckpoint, DiskFull
from engine.weights.layout import (
    LAYOUT_FILE,
    LAYOUT_VERSION,
    SLAB_FILE,
    Alias,
    Layout,
    SlabEntry,
    data_length,
    header_bytes,
    is_sound,
)
from engine.weights.source_files import companions, hashing
from engine.weights.workplace import clear, publish, workplace
from engine.whole_file import only_files


class Prepared(Struct, frozen=True):
    """A prepared folder that is whole."""

    folder: Path
    slab_path: Path
    data_offset: int
    length: int
    layout: Layout
    layout_id: str
    """SHA-256 of the layout as it is written: where two are equal, so is every byte of the slab, and what lies where."""
    stamp: tuple[int, int]
    """Inode and time of change, in ns, of the file that the layout was read from."""


class _Version(Struct, frozen=True):
    """What a layout of any format begins with."""

    format_version: int


class SlabContents(Struct, frozen=True):
    """What is to be written."""

    model_class: str
    source: str
    entries: tuple[SlabEntry, ...]
    aliases: tuple[Alias, ...]


def open_prepared(folder: Path) -> Prepared:
    """The prepared folder, its sizes checked against its layout. Raises BadCheckpoint when it is missing or damaged."""
    slab_path = folder / SLAB_FILE
    try:
        with open(folder / LAYOUT_FILE, "rb", opener=only_files) as file:
            written, stamp = file.read(), _stamp(os.fstat(file.fileno()))
        version = from_json(written, _Version).format_version
        if version != LAYOUT_VERSION:
            raise BadCheckpoint(f"{folder} was prepared in format {version}, not {LAYOUT_VERSION}; prepare it again")
        layout = from_sealed_json(written, Layout)
        slab_bytes = slab_path.stat().st_size
    except (OSError, Undecodable) as error:
        raise BadCheckpoint(f"{folder} is not a whole prepared model ({error}); prepare it again") from error
    if slab_bytes != layout.data_offset + layout.length or not is_sound(layout):
        raise BadCheckpoint(f"{slab_path} has {slab_bytes} bytes, which is not what its layout says; prepare it again")
    layout_id = hashlib.sha256(written).hexdigest()
    return Prepared(folder, slab_path, layout.data_offset, layout.length, layout, layout_id, stamp)


def is_current(prepared: Prepared) -> bool:
    """Whether the folder still holds what was opened; False once it was prepared anew, or is gone. Costs a look at one file."""
    try:
        return _stamp((prepared.folder / LAYOUT_FILE).stat()) == prepared.stamp
    except OSError:
        return False


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_mtime_ns


def write_prepared(
    folder: Path,
    checkpoint: Path,
    contents: SlabContents,
    bytes_of: Callable[[SlabEntry], memoryview],
    on_progress: Callable[[float], None],
) -> Prepared:
    """Write a prepared folder, in the place of the one that is there. Raises DiskFull; when it fails, all is as it was."""
    header = header_bytes(contents.entries)
    needed_bytes = len(header) + data_length(contents.entries)
    with workplace(folder) as temporary, hashing(checkpoint) as source_sha256:
        free_bytes = shutil.disk_usage(folder.parent).free
        if needed_bytes > free_bytes:
            raise DiskFull(_disk_full(folder, needed_bytes, free_bytes))
        try:
            with (temporary / SLAB_FILE).open("wb") as file:
                file.write(header)
                sums = _write_data(file, contents.entries, bytes_of, on_progress)
                _sync(file)
            _copy_companions(checkpoint, temporary)
            _write_layout(temporary, contents, source_sha256.result(), len(header), sums)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DiskFull(_disk_full(folder, needed_bytes, free_bytes)) from error
            raise
        publish(temporary, folder)
    clear(parts_folder(folder))
    return open_prepared(folder)


def parts_folder(folder: Path) -> Path:
    """Where what came of fetching a prepared folder is kept until it is whole: where it can be renamed from."""
    return folder.parent.parent / "fetched" / folder.name


class _Sums(NamedTuple):
    """Of a data section."""

    sha256: str
    blocks: tuple[int, ...]


def _write_data(
    file: BinaryIO,
    entries: tuple[SlabEntry, ...],
    bytes_of: Callable[[SlabEntry], memoryview],
    on_progress: Callable[[float], None],
) -> _Sums:
    digest, blocks = hashlib.sha256(), BlockSums()
    total_bytes = data_length(entries)
    ends = (*(entry.offset for entry in entries[1:]), total_bytes)
    for entry, end in zip(entries, ends, strict=True):
        data = bytes_of(entry)
        if data.nbytes != entry.length:
            raise ValueError(f"{entry.path} has {data.nbytes} bytes, not {entry.length}")
        hole = bytes(end - entry.offset - entry.length)
        for part in (data, hole):
            file.write(part)
            digest.update(part)
            blocks.update(part)
        on_progress(end / total_bytes)
    return _Sums(digest.hexdigest(), blocks.finish())


def _write_layout(
    folder: Path, contents: SlabContents, source_sha256: dict[str, str], data_offset: int, sums: _Sums
) -> None:
    layout = Layout(
        format_version=LAYOUT_VERSION,
        model_class=contents.model_class,
        source=contents.source,
        source_sha256=source_sha256,
        entries=contents.entries,
        aliases=contents.aliases,
        data_offset=data_offset,
        length=data_length(contents.entries),
        sha256=sums.sha256,
        block_sums=sums.blocks,
    )
    with (folder / LAYOUT_FILE).open("wb") as file:
        file.write(to_sealed_json(layout))
        _sync(file)


def _copy_companions(checkpoint: Path, folder: Path) -> None:
    for path in companions(checkpoint):
        target = folder / path.relative_to(checkpoint)
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy)
            _sync(copy)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _disk_full(folder: Path, needed_bytes: int, free_bytes: int) -> str:
    return (
        f"preparing {folder.name} needs {format_size(needed_bytes)} on the disk of {folder.parent}, which has"
        f" {format_room(free_bytes)} free; nothing was kept. Free some room, or set XDG_CACHE_HOME to a folder with more"
    )
