"""`python -m engine.worker.prepare_program`: carries out one Order from its standard input, and prints News, a JSON line each.

It uses the code of the engine's own preparer, and may run beside an engine: a folder appears under its name only when it is
whole. Ended by SIGTERM or SIGINT, or left by its reader, it leaves nothing half-written behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias

from engine.core.models import ModelSpec
from engine.core.preparation import (
    Building,
    Built,
    Checking,
    Depth,
    Kept,
    NotPrepared,
    Order,
    PrepareNews,
    PrepareOutcome,
)
from engine.told_process import told
from engine.weights.errors import BadCheckpoint, WeightsError
from engine.weights.integrity import verify_checksum
from engine.weights.sequence_limits import settle_limits
from engine.weights.slab import Prepared, open_prepared
from engine.weights.source_files import changed_files
from engine.weights.sources import Source, earlier_folders, prepared_folder, resolve
from engine.worker.prepare_request import in_hundredths, preparation_of

SayProgress: TypeAlias = Callable[[PrepareNews], None]


def main() -> None:
    prepare_all(*told(Order))


def prepare_all(order: Order, say: SayProgress) -> None:
    """Say of each model in turn how it goes, and what came of it in the end."""
    for spec in order.models:
        say(_prepared(spec, Path(order.cache), order.depth, say))


def _prepared(spec: ModelSpec, cache: Path, depth: Depth, say: SayProgress) -> PrepareOutcome:
    damage = ""
    try:
        source = resolve(spec, cache)
        settle_limits(spec, source)
        folder = prepared_folder(spec, source, cache)
        try:
            if depth != "nothing" and folder.exists():
                return _kept(spec, source, folder, depth, say)
            if depth == "checksum":
                _look_at_earlier(spec, source, folder, say)
        except BadCheckpoint as bad:
            damage = str(bad)
        return _built(spec, source, folder, damage, say)
    except Exception as error:  # one model's trouble, whatever it is, keeps no other from being prepared
        reason = _reason(spec, error)
        return NotPrepared(spec.name, f"{damage}; that failed: {reason}" if damage else reason)


def _reason(spec: ModelSpec, error: Exception) -> str:
    if isinstance(error, WeightsError | OSError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"the memory of this machine does not suffice for {spec.name}; end other programs, or choose a smaller model"
    return f"{type(error).__name__}: {error}; what is wrong with {spec.name} is not known"


def _kept(spec: ModelSpec, source: Source, folder: Path, depth: Literal["sizes", "checksum"], say: SayProgress) -> Kept:
    """Raises BadCheckpoint when what is there is not believed."""
    prepared = open_prepared(folder)
    if depth == "sizes":
        return Kept(spec.name, prepared.length, "sizes")
    verify_checksum(prepared, in_hundredths(lambda done: say(Checking(spec.name, done))))
    if not source.folder.is_dir():  # of a synthetic one, which is made only where it is needed
        return Kept(spec.name, prepared.length, "checksum")
    if changed := _changes(spec, source, prepared, say):
        raise BadCheckpoint(f"{source.folder} has changed since {folder} was made of it: {changed}")
    return Kept(spec.name, prepared.length, "source")


def _look_at_earlier(spec: ModelSpec, source: Source, folder: Path, say: SayProgress) -> None:
    """The model has no slab under its name of today, as when its source has changed. Raises BadCheckpoint to say so."""
    today = preparation_of(spec, source, folder, request_id=1).source
    for earlier in earlier_folders(spec, folder):
        with suppress(BadCheckpoint):
            prepared = open_prepared(earlier)
            if prepared.layout.source == today and (changed := _changes(spec, source, prepared, say)):
                break
    else:
        return
    raise BadCheckpoint(
        f"{source.folder} has changed since {earlier} was made of it: {changed}; nothing loads that any more, remove it"
    )


def _changes(spec: ModelSpec, source: Source, prepared: Prepared, say: SayProgress) -> str:
    """Names of the source's files that are not those that the slab was made of."""
    progress = in_hundredths(lambda done: say(Checking(spec.name, done)))
    return ", ".join(changed_files(source.folder, prepared.layout.source_sha256, progress))


def _built(spec: ModelSpec, source: Source, folder: Path, damage: str, say: SayProgress) -> Built:
    say(Building(spec.name, 0.0))
    began_s = time.monotonic()
    from engine.worker.convert import build  # here: torch takes seconds, which a slab that is kept does not need

    request = preparation_of(spec, source, folder, request_id=1)
    prepared = build(request, in_hundredths(lambda done: say(Building(spec.name, done))))
    took_s = time.monotonic() - began_s
    return Built(spec.name, prepared.length, took_s, damage, spec.dtype, len(prepared.layout.weight_only_layers))


if __name__ == "__main__":
    main()
