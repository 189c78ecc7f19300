"""Which files of a repository of the hub a model is made of: those that are read, and no others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from engine.weights.checkpoint_json import CONFIG_FILE, read_json_object
from engine.weights.errors import BadCheckpoint
from engine.weights.formats import instead_of_weights_among
from engine.weights.header import INDEX_FILE, WEIGHTS_FILE
from engine.weights.sentence_files import MODULES_FILE
from engine.weights.source_files import EXTRA_FOLDERS, module_folders, reads

TELLING: Final = (CONFIG_FILE, MODULES_FILE, INDEX_FILE)
"""Small files that say which others there must be: they are fetched first."""


def check_names(repository: str, names: Collection[str]) -> None:
    """Raises BadCheckpoint for a repository without a model that can be read."""
    if CONFIG_FILE not in names:
        raise BadCheckpoint(
            f"{repository} has no {CONFIG_FILE}, so it is no model of transformers; name another repository"
        )
    if WEIGHTS_FILE not in names and INDEX_FILE not in names:
        from_the_top = sorted(map(Path, names), key=lambda path: (len(path.parts), path))
        raise BadCheckpoint(f"{repository} {instead_of_weights_among(from_the_top)}")


def files_read(names: Collection[str], telling: Path) -> list[str]:
    """Of a repository's files those that are read, given a folder with those of `TELLING` that it has. Raises BadCheckpoint
    when parts of the weights are missing, or a path leads outside."""
    folders = {*EXTRA_FOLDERS, *_module_folders(names, telling)}
    wanted = [name for name in names if name in TELLING or _is_read(PurePosixPath(name), folders)]
    weights = [WEIGHTS_FILE] if WEIGHTS_FILE in names else _shards(telling)
    if missing := sorted(set(weights) - set(names)):
        raise BadCheckpoint(
            f"the repository lacks {missing[0]}, which its {INDEX_FILE} names; ask its owner, or name another"
        )
    return sorted({*wanted, *weights} - ({INDEX_FILE} if WEIGHTS_FILE in names else set()))


def _is_read(path: PurePosixPath, folders: Collection[str]) -> bool:
    if path.parent == PurePosixPath():
        return reads(path.name)
    return any(path.is_relative_to(folder) for folder in folders) and reads(path.name, ".safetensors")


def _module_folders(names: Collection[str], telling: Path) -> Iterator[str]:
    if MODULES_FILE in names:
        yield from module_folders(telling)
    else:
        paths = map(PurePosixPath, names)
        yield from {p.parts[0] for p in paths if len(p.parts) == 2 and "_" in p.parts[0] and p.name == CONFIG_FILE}


def _shards(telling: Path) -> list[str]:
    listed = read_json_object(telling / INDEX_FILE).get("weight_map")
    if not isinstance(listed, Mapping):
        raise BadCheckpoint(f"{telling / INDEX_FILE} has no weight_map, so that the parts of the weights can't be told")
    return sorted({str(name) for name in listed.values()})
