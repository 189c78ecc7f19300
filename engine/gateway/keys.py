"""The keys that let applications in: made here, shown once, and kept as hashes in a file that only its owner reads.

A key is 256 random bits, so that a plain hash can't be turned back and nobody needs a slow one: each request would pay for that.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.api import EngineError
from engine.core.names import MODEL_NAME_RULE, is_model_name
from engine.core.serialization import Undecodable, from_json, to_readable_json
from engine.whole_file import only_writer, read_whole, write_whole

KEY_PREFIX: Final = "citadel-"
"""By which people and scanners of leaked secrets know one."""
_KEY_BYTES: Final = 32
_MOST_BYTES: Final = 16 << 20
"""Of the file: some hundred thousand keys."""


class Key(Struct, frozen=True):
    """A key as it is kept."""

    name: str
    sha256: str
    made_at_s: float
    """Seconds since the epoch."""


class _KeyFile(Struct, frozen=True):
    keys: tuple[Key, ...] = ()


class KeysRefused(EngineError):
    """The file of keys can't be trusted or used; nobody was let in by it, and nothing was changed."""


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys in the file; none where there is no file. Raises KeysRefused for one that others may read or write, or that holds
    something else."""
    try:
        mode = path.stat().st_mode
        body = read_whole(path, _MOST_BYTES)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KeysRefused(f"{path} can't be read: {error.strerror}; no key is known") from error
    if stat.S_IMODE(mode) & 0o077:
        raise KeysRefused(
            f"{path} is open to other users, so that no key in it counts. Close it with: chmod 600 {path}"
        )
    try:
        return from_json(body, _KeyFile).keys
    except Undecodable as error:
        raise KeysRefused(f"{path} holds no keys ({error}); move it away and add keys anew") from error


def add_key(path: Path, name: str, now_s: float) -> str:
    """Make a key of that name and keep its hash; the key itself, which can't be had again. Raises KeysRefused."""
    if not is_model_name(name):
        raise KeysRefused(f"a key's name is {MODEL_NAME_RULE}; {name!r} is not")
    secret = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    with _changed(path) as keys:
        if any(key.name == name for key in keys):
            raise KeysRefused(f"there is a key named {name} already; take it away first (citadel keys rm {name})")
        keys.append(Key(name, _hash(secret), now_s))
    return secret


def remove_key(path: Path, name: str) -> None:
    """Whoever has the key of that name is let in no more. Raises KeysRefused."""
    with _changed(path) as keys:
        if all(key.name != name for key in keys):
            known = ", ".join(key.name for key in keys) or "none"
            raise KeysRefused(f"no key is named {name}; there are: {known}")
        keys[:] = [key for key in keys if key.name != name]


def name_of(keys: tuple[Key, ...], secret: str) -> str | None:
    """Whose key that is; None where it is nobody's. Takes as long for a wrong one as for a right one."""
    digest, found = _hash(secret), None
    for key in keys:
        if hmac.compare_digest(key.sha256, digest):
            found = key.name
    return found


class KeyFile:
    """The keys of a file as it is now: a key that is added or taken away counts from the next request on."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[Key, ...] = ()

    def name_of(self, secret: str) -> str | None:
        """Whose key that is; None where it is nobody's. Raises KeysRefused."""
        if (seen := self._look()) != self._seen:
            self._keys = read_keys(self._path)
            self._seen = seen
        return name_of(self._keys, secret)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_mode


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


@contextmanager
def _changed(path: Path) -> Iterator[list[Key]]:
    """The keys, which are in the file as they are on leaving; nobody else changes them meanwhile. Raises KeysRefused."""
    try:
        with only_writer(path.parent):
            yield (keys := list(read_keys(path)))
            write_whole(path, to_readable_json(_KeyFile(tuple(keys))))
    except BlockingIOError:
        raise KeysRefused(f"somebody else changes {path} just now; try again") from None
    except OSError as error:
        raise KeysRefused(f"{path} can't be written: {error.strerror}; the keys are as before") from error
