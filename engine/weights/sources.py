"""Where a model's weights come from: the first of its sources that this machine has. Nothing is ever downloaded."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.core.models import ModelSpec
from engine.core.texts import quoted
from engine.weights.checks import check_checkpoint
from engine.weights.errors import BadCheckpoint, SourceMissing
from engine.weights.header import checkpoint_files
from engine.weights.hub_cache import hub_folder
from engine.weights.recipes import RECIPES, checkpoint_folder
from engine.weights.source_files import companions

PACKAGE_FOLDER: Final = "model"
NAMING: Final = 2
"""Of prepared folders; another number leaves all that there are behind, unused."""


class Source(Struct, frozen=True):
    """A source that can be used."""

    text: str
    """As the catalog writes it."""
    folder: Path
    """Of the checkpoint; a synthetic one may not have been made yet."""
    passed_over: tuple[str, ...] = ()
    """Sources before it that are there and can't be used, each with what is wrong with it."""

    @property
    def synthetic_kind(self) -> str | None:
        """Which recipe makes it; None for a checkpoint that was given."""
        form, _, rest = self.text.partition(":")
        return rest if form == "synthetic" else None


def resolve(spec: ModelSpec, cache: Path) -> Source:
    """The first usable source of the model. Raises SourceMissing, saying what is wrong with each."""
    complaints: list[str] = []
    bad: list[str] = []
    for text in spec.sources:
        try:
            return Source(text, _checked_folder(text, spec, cache), tuple(bad))
        except SourceMissing as missing:
            complaints.append(f"{text}: {missing}")
        except BadCheckpoint as trouble:
            bad.append(f"{text}: {trouble}")
            complaints.append(bad[-1])
        except (OSError, ValueError) as error:  # what a path may hold: no permission, a loop of links, a zero byte
            bad.append(f"{text}: it can't be looked at: {error}")
            complaints.append(bad[-1])
    tried = "; ".join(complaints) or "the catalog names none"
    raise SourceMissing(f"{spec.name} has no source that can be used on this machine. {tried.rstrip('?.')}.")


def prepared_folder(spec: ModelSpec, source: Source, cache: Path) -> Path:
    """Where the model's prepared slab is, or will be: another folder whenever the checkpoint changes, its tokenizer's and
    other companions' files included. Raises BadCheckpoint, also when the checkpoint is not there any more."""
    try:
        identity = "\n".join(_identity(spec, source))
    except OSError as error:
        raise BadCheckpoint(f"{error.filename} can't be read any more: {error.strerror}") from error
    digest = hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest()[:12]
    return cache / "prepared" / f"{spec.name}-{spec.dtype}-{digest}"


def earlier_folders(spec: ModelSpec, folder: Path) -> list[Path]:
    """Prepared folders of the same model and dtype beside `folder`, newest first: made of another source, or of what it
    was."""
    paths = folder.parent.glob(f"{glob.escape(spec.name)}-{spec.dtype}-*")
    beside = [path for path in paths if path != folder and len(path.name) == len(folder.name)]
    return sorted(beside, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _identity(spec: ModelSpec, source: Source) -> Iterator[str]:
    yield f"{NAMING} {spec.task} {spec.dtype} {spec.sha256 or ''} {source.folder}"
    if source.synthetic_kind is not None:
        return  # the recipe's fingerprint is in the folder's name, and the files may not be there yet
    for path in (*checkpoint_files(source.folder), *companions(source.folder)):
        stat = path.stat()
        yield f"{path.relative_to(source.folder)} {stat.st_size} {stat.st_mtime_ns}"


def given_folder(text: str, revision: str | None) -> Path:
    """The folder of the checkpoint that a source names, which is none that is made here. Raises SourceMissing, BadCheckpoint."""
    form, _, rest = text.partition(":")
    match form:
        case "package":
            folder = _package_folder(rest)
        case "hub":
            folder = hub_folder(rest, revision)
        case "path":
            folder = Path(rest)
        case _:
            raise SourceMissing("a source begins with package:, hub:, path: or synthetic:")
    if not folder.is_dir():
        raise SourceMissing(f"there is no folder {folder}")
    return folder


def _checked_folder(text: str, spec: ModelSpec, cache: Path) -> Path:
    form, _, rest = text.partition(":")
    if form == "synthetic":
        return _synthetic_folder(rest, spec, cache)
    folder = given_folder(text, spec.revision)
    check_checkpoint(folder, spec)
    return folder


def _synthetic_folder(kind: str, spec: ModelSpec, cache: Path) -> Path:
    if kind not in RECIPES:
        raise SourceMissing(f"there is no synthetic {quoted(kind)}; there are {', '.join(RECIPES)}")
    if (made_for := RECIPES[kind].task) != spec.task:
        raise BadCheckpoint(f'it is made for {made_for}, not for {spec.task}; choose "task": "{made_for}"')
    return checkpoint_folder(RECIPES[kind], cache)


def _package_folder(text: str) -> Path:
    package, _, below = text.partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        install = package.replace("_", "-")
        raise SourceMissing(f"the Python package {package} is not installed; `pip install {install}` installs it")
    return Path(next(iter(spec.submodule_search_locations))) / (below or PACKAGE_FOLDER)
