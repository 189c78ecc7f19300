"""Having a file in the kernel's page cache, or not having it there, and being sure of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from engine.bench.records import NotMeasured
from engine.core.models import ModelSpec
from engine.core.names import ModelName
from engine.weights.errors import WeightsError
from engine.weights.page_cache import cached_share
from engine.weights.slab import open_prepared
from engine.weights.sources import prepared_folder, resolve

_PIECE_BYTES: Final = 8 << 20
COLD_SHARE: Final = 0.01
"""A file counts as cold when the kernel keeps no more of it."""


class PageCache:
    """The page cache's hold on the slabs that `find` names. `find` raises WeightsError for one that is not there."""

    def __init__(self, find: Callable[[ModelName], Path]) -> None:
        self._find = find

    def warm(self, model: ModelName) -> None:
        """Have the whole slab in the page cache. Raises NotMeasured."""
        path = self._path(model)
        with path.open("rb", buffering=0) as file:
            piece = bytearray(_PIECE_BYTES)
            while file.readinto(piece):
                pass
        if (share := cached_share(path)) < 1 - COLD_SHARE:
            raise NotMeasured(f"the page cache holds only {share:.0%} of its slab: the host is short of memory")

    def drop(self, model: ModelName) -> None:
        """Have nothing of the slab in the page cache. Raises NotMeasured."""
        path = self._path(model)
        if (share := drop_file(path)) > COLD_SHARE:
            raise NotMeasured(f"the kernel keeps {share:.0%} of its slab in memory: {path} is in use, or on no disk")

    def _path(self, model: ModelName) -> Path:
        try:
            return self._find(model)
        except WeightsError as error:
            raise NotMeasured(f"its slab can't be found from here: {error}") from None


def slab_file(spec: ModelSpec, cache: Path) -> Path:
    """Where the model's prepared slab lies in `cache`. Raises WeightsError when it is not there, or its source is not."""
    return open_prepared(prepared_folder(spec, resolve(spec, cache), cache)).slab_path


def drop_file(path: Path) -> float:
    """Have the page cache let go of the file; the share that it keeps all the same. Raises OSError."""
    with path.open("rb") as file:
        # Only clean pages go: those that are not on the disk yet would stay, and so would those that a process has mapped or is
        # reading this moment. The advice reports no failure, so that only counting afterwards tells a cold start from a warm one.
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return cached_share(path)
