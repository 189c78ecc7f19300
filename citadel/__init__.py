"""What programs import: `from citadel import GPUManager, connect, EngineError`.

These names keep their meaning from version to version; `engine` and `citadel_tui` beneath them may change.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from engine.answers import Classification, Embeddings, Generation, Reranking
from engine.api import (
    BadRequest,
    CannotServe,
    DeadlinePassed,
    EngineAPI,
    EngineError,
    EngineUnreachable,
    OtherVersion,
    Overloaded,
    ReadOnly,
    RunStopped,
    Unfit,
    UnknownModel,
)
from engine.version import VERSION as __version__

if TYPE_CHECKING:
    from engine.manager import GPUManager

__all__ = [
    "BadRequest",
    "CannotServe",
    "Classification",
    "DeadlinePassed",
    "Embeddings",
    "EngineAPI",
    "EngineError",
    "EngineUnreachable",
    "GPUManager",
    "Generation",
    "OtherVersion",
    "Overloaded",
    "ReadOnly",
    "Reranking",
    "RunStopped",
    "Unfit",
    "UnknownModel",
    "__version__",
    "connect",
]


async def connect(config: Path | None = None, *, start: bool = True) -> EngineAPI:
    """This user's engine, for asyncio: the one that runs, else a new one, which goes on when this program ends.

    `config`: the folder of gpu_allocation.yaml for a new one; else CITADEL_CONFIG, ./config, the user's own or the program's. The
    engine answers any number of calls at once; nothing needs to be connected again when it has been restarted. Raises
    EngineUnreachable where none runs and `start` is false, EngineError for one that can't be started.
    """
    from engine.client import connect as connected
    from engine.paths import find_paths
    from engine.process import ensure_engine
    from engine.settings import find_config_folder

    paths = find_paths(os.environ)
    if start:
        await ensure_engine(paths, find_config_folder(config, os.environ, Path.cwd()))
    return await connected(paths)


def __getattr__(name: str) -> object:
    """Import `GPUManager` on first use: it can hold an engine of its own, with all that this needs."""
    if name == "GPUManager":
        from engine.manager import GPUManager

        return GPUManager
    raise AttributeError(f"module 'citadel' has no attribute {name!r}")
