"""The Hugging Face cache, as `citadel pull` and `hf download` leave it: which snapshot a revision means, and what is wrong
where there is none that is whole. Nothing is ever fetched here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from engine.weights.errors import BadCheckpoint, SourceMissing

DEFAULT_REVISION: Final = "main"
_SHORT: Final = 12


def hub_folder(repository: str, revision: str | None) -> Path:
    """The snapshot of the repository. Raises SourceMissing where there is none, and BadCheckpoint where it is not whole, with
    the command that mends it; OSError where the cache can't be read."""
    wanted = revision or DEFAULT_REVISION
    fetch = f"`citadel pull {repository}{f'@{revision}' if revision else ''}`"
    home = _home(repository, fetch)
    snapshots = sorted(path for path in home.glob("snapshots/*") if path.is_dir())
    if not snapshots:
        raise BadCheckpoint(f"the Hugging Face cache has begun on it, and has none of its files; {fetch} fetches it")
    reference = home / "refs" / wanted
    commit = reference.read_text(errors="replace").strip() if reference.is_file() else wanted
    snapshot = home / "snapshots" / commit
    if commit and "/" not in commit and snapshot.is_dir():
        _check_whole(home, snapshot, revision, fetch)
        return snapshot
    others = _others(home, snapshot)
    if not reference.is_file():
        others = others if revision is None else ""
        raise SourceMissing(f"the Hugging Face cache has it, but not revision {wanted}{others}; {fetch} fetches it")
    if not commit:
        raise BadCheckpoint(f"{reference} is empty, so that revision {wanted} is none{others}; {fetch} writes it anew")
    raise BadCheckpoint(
        f"revision {wanted} is {commit[:_SHORT]} in the Hugging Face cache, and that is not there{others}; {fetch} fetches it"
    )


def cache_folder() -> Path:
    """Where the cache is, as the official library finds it."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := os.environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    cache_home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache_home).expanduser() / "huggingface" / "hub"


def _home(repository: str, fetch: str) -> Path:
    home = cache_folder() / f"models--{repository.replace('/', '--')}"
    if home.is_dir():
        return home
    alike = (path.name for path in home.parent.glob("models--*") if path.name.lower() == home.name.lower())
    if other := next(alike, None):
        written = other.removeprefix("models--").replace("--", "/")
        raise SourceMissing(f"it is not in the Hugging Face cache, but hub:{written} is, in other letters; write it so")
    raise SourceMissing(f"it is not in the Hugging Face cache; {fetch} fetches it")


def _check_whole(home: Path, snapshot: Path, revision: str | None, fetch: str) -> None:
    """Raises BadCheckpoint when files of the snapshot are gone or have not come yet."""
    name = f"revision {revision or DEFAULT_REVISION} ({snapshot.name[:_SHORT]})"
    links = sorted(path for path in snapshot.rglob("*") if path.is_symlink() and not path.exists())
    if links:
        gone = links[0].relative_to(snapshot)
        more = f" and {len(links) - 1} more" if len(links) > 1 else ""
        raise BadCheckpoint(
            f"{name} is there in part: {gone}{more} in the Hugging Face cache is a link to a file that is gone;"
            f" {fetch} fetches it"
        )
    if _has_weights(snapshot):
        return
    if unfinished := list(home.glob("blobs/*.incomplete")):
        raise BadCheckpoint(
            f"{name} is there in part: its download was interrupted, with {len(unfinished)} files unfinished;"
            f" {fetch} goes on with it"
        )
    if others := _others(home, snapshot):
        raise BadCheckpoint(f"{name} is there without its weights{others}; {fetch} fetches them")
    if not any(path.is_file() for path in snapshot.iterdir()):
        raise BadCheckpoint(f"{name} is an empty folder in the Hugging Face cache; {fetch} fetches it")
    # in another format only: the words for that are those for any other folder


def _has_weights(snapshot: Path) -> bool:
    return (snapshot / "config.json").is_file() and any(snapshot.glob("*.safetensors*"))


def _others(home: Path, but: Path) -> str:
    """That another snapshot is whole, and how to have it; empty when none is."""
    whole = [path for path in home.glob("snapshots/*") if path != but and path.is_dir() and _has_weights(path)]
    whole = [path for path in whole if all(link.exists() for link in path.rglob("*"))]
    if not whole:
        return ""
    newest = max(whole, key=lambda path: path.stat().st_mtime_ns)
    return f'; an older one is whole: "revision": "{newest.name}" in the catalog takes that'
