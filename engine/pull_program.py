"""`python -m engine.pull_program`: fetches one PullOrder from its standard input, and prints news, a JSON line each.

What it writes is the Hugging Face cache, as huggingface_hub lays it out: blobs by their checksums, snapshots of links to them.
Bytes come into a file that stays when the line breaks or the process ends, so that the next try goes on with it; the library's
own download begins such a file anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Final, TypeAlias

from huggingface_hub import HfApi, get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.constants import ENDPOINT, HF_HUB_DOWNLOAD_TIMEOUT
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public, and not exported in words
from msgspec import Struct

from engine.core.pulling import NotPulled, PullAdvanced, PullBegun, PullCut, Pulled, PullNews, PullOrder
from engine.core.sizes import format_room, format_size
from engine.told_process import told
from engine.weights.errors import BadCheckpoint
from engine.weights.hub_cache import DEFAULT_REVISION, cache_folder
from engine.weights.hub_files import TELLING, check_names, files_read

SayPullNews: TypeAlias = Callable[[PullNews], None]
PIECE_BYTES: Final = 1 << 20
SAY_BYTES: Final = 4 << 20
"""So many bytes, or one file, are worth a word."""
TRIES: Final = 5
"""In a row that bring nothing; the first comes at once, the others after a pause."""
_SHA256_DIGITS: Final = 64
_HTTP_ERROR: Final[type[Exception]] = next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")
"""Of whatever client the library uses: it has changed that once."""


class PullRefused(Exception):
    """It can't be fetched, in words."""


class HubFile(Struct, frozen=True):
    """A file of the repository, as the hub lists it."""

    name: str
    size_bytes: int
    digest: str
    """SHA-256 of a large file, git's SHA-1 of another: what its blob is called."""


def main() -> None:
    order, say = told(PullOrder)
    try:
        say(pull(order, say))
    except PullRefused as refusal:
        say(NotPulled(str(refusal)))


def pull(order: PullOrder, say: SayPullNews) -> Pulled:
    """Have the repository in the cache. Raises PullRefused."""
    with _in_words(order):
        commit, files = _listed(order)
        by_name = {file.name: file for file in files}
        check_names(order.repository, by_name)
        home = cache_folder() / f"models--{order.repository.replace('/', '--')}"
        snapshot = home / "snapshots" / commit
        fetching = _Fetching(order.repository, commit, home, say)
        fetching.fetch([by_name[name] for name in TELLING if name in by_name])
        wanted = [by_name[name] for name in files_read(by_name, snapshot)]
        fetching.begin(wanted)
        fetching.fetch(wanted)
        _refer(home, order.revision or DEFAULT_REVISION, commit)
        return Pulled(str(snapshot), commit, sum(file.size_bytes for file in wanted))


class _Fetching:
    """Of one commit."""

    def __init__(self, repository: str, commit: str, home: Path, say: SayPullNews) -> None:
        self._repository: Final = repository
        self._commit: Final = commit
        self._home: Final = home
        self._say: Final = say
        self._done_bytes = 0
        self._said_bytes = 0
        self._is_begun = False

    def begin(self, files: Sequence[HubFile]) -> None:
        """Say what there is to do. Raises PullRefused when there is no room for it."""
        total_bytes = sum(file.size_bytes for file in files)
        there_bytes = sum(self._there_bytes(file) for file in files)
        free_bytes = shutil.disk_usage(self._home).free
        if (need_bytes := total_bytes - there_bytes) > free_bytes:
            raise PullRefused(
                f"{self._repository} needs {format_size(need_bytes)} more, and the disk of {cache_folder()} has"
                f" {format_room(free_bytes)} left; free some, or name another folder with HF_HOME"
            )
        self._done_bytes, self._is_begun = 0, True
        self._say(PullBegun(len(files), total_bytes, there_bytes))

    def fetch(self, files: Sequence[HubFile]) -> None:
        """Have them in the snapshot. Raises PullRefused, BadCheckpoint."""
        for file in files:
            blob = self._blob(file)
            if not blob.exists():
                self._fetch_blob(file, blob)
            else:
                self._advance(file, file.size_bytes)
            _link(self._home / "snapshots" / self._commit / file.name, blob)

    def _fetch_blob(self, file: HubFile, blob: Path) -> None:
        blob.parent.mkdir(parents=True, exist_ok=True)
        part = blob.with_name(f"{blob.name}.incomplete")
        with part.open("ab") as into:
            try:
                fcntl.flock(into, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PullRefused(
                    f"another process fetches {file.name} of {self._repository} just now; wait for it"
                ) from None
            if into.tell() > file.size_bytes:
                _empty(into)
            self._advance(file, into.tell())
            tries = 0
            while into.tell() < file.size_bytes:
                before_bytes = into.tell()
                try:
                    self._stream(file, into)
                    cut = "the hub ended it early"
                except _HTTP_ERROR as error:
                    if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
                        raise
                    cut = _first_line(error)
                if into.tell() < file.size_bytes:
                    tries = 1 if into.tell() > before_bytes else tries + 1
                    self._go_on(file, cut, tries)
        if not _is_right(part, file):
            part.unlink()
            raise PullRefused(f"{file.name} of {self._repository} came damaged, and was thrown away; pull it again")
        part.rename(blob)

    def _go_on(self, file: HubFile, cut: str, tries: int) -> None:
        if tries > TRIES:
            raise PullRefused(f"{self._repository}: the line breaks again and again at {file.name} ({cut})")
        self._say(PullCut(file.name, cut))
        time.sleep(0 if tries == 1 else 2 ** (tries - 2))

    def _stream(self, file: HubFile, into: IO[bytes]) -> None:
        """What is missing of it. Raises the client's errors, and HfHubHTTPError for what the hub refuses."""
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if into.tell():
            headers["Range"] = f"bytes={into.tell()}-"
        url = hf_hub_url(self._repository, file.name, revision=self._commit)
        client, patience_s = get_session(), HF_HUB_DOWNLOAD_TIMEOUT
        with client.stream("GET", url, headers=headers, follow_redirects=True, timeout=patience_s) as response:
            hf_raise_for_status(response)
            if into.tell() and response.status_code != 206:  # it gives the whole file anew
                self._advance(file, -into.tell())
                _empty(into)
            for piece in response.iter_raw():
                into.write(piece)
                self._advance(file, len(piece))

    def _advance(self, file: HubFile, came_bytes: int) -> None:
        self._done_bytes += came_bytes
        if self._is_begun and (came_bytes == file.size_bytes or abs(self._done_bytes - self._said_bytes) >= SAY_BYTES):
            self._said_bytes = self._done_bytes
            self._say(PullAdvanced(file.name, self._done_bytes))

    def _blob(self, file: HubFile) -> Path:
        return self._home / "blobs" / file.digest

    def _there_bytes(self, file: HubFile) -> int:
        blob = self._blob(file)
        for path in (blob, blob.with_name(f"{blob.name}.incomplete")):
            with suppress(FileNotFoundError):
                return min(path.stat().st_size, file.size_bytes)
        return 0


# ── the hub ──────────────────────────────────────────────────────────────────────────────────────


def _listed(order: PullOrder) -> tuple[str, list[HubFile]]:
    """The commit that is meant, and its files. Raises PullRefused, and what the library raises."""
    found = HfApi().model_info(order.repository, revision=order.revision, files_metadata=True)
    if found.sha is None or found.siblings is None:
        raise PullRefused(f"{ENDPOINT} does not list the files of {order.repository}; is it a hub?")
    files = []
    for sibling in found.siblings:
        path, digest = PurePosixPath(sibling.rfilename), sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
        if path.is_absolute() or ".." in path.parts:
            raise PullRefused(f"{order.repository} lists {sibling.rfilename!r}, which would lie outside of its folder")
        if digest and digest.isalnum() and sibling.size is not None:
            files.append(HubFile(sibling.rfilename, sibling.size, digest))
    return found.sha, files


@contextmanager
def _in_words(order: PullOrder) -> Iterator[None]:
    """Raises PullRefused for whatever goes wrong inside."""
    repository, revision = order.repository, order.revision or DEFAULT_REVISION
    try:
        yield
    except GatedRepoError as error:
        raise PullRefused(
            f"{repository} is gated: agree to its terms at {ENDPOINT}/{repository}, and set HF_TOKEN to a token of that account"
        ) from error
    except RevisionNotFoundError as error:
        raise PullRefused(f"{repository} has no revision {revision}") from error
    except RepositoryNotFoundError as error:
        raise PullRefused(
            f"{ENDPOINT} has no {repository}, or not for you: look at the name, and set HF_TOKEN where it is private"
        ) from error
    except HfHubHTTPError as error:
        raise PullRefused(f"{ENDPOINT} refused {repository}: {_first_line(error)}") from error
    except _HTTP_ERROR as error:
        raise PullRefused(
            f"{ENDPOINT} can't be reached: {_first_line(error)}; HF_ENDPOINT names another hub"
        ) from error
    except BadCheckpoint as error:
        raise PullRefused(str(error)) from error
    except OSError as error:
        raise PullRefused(f"{error.filename or cache_folder()} can't be written: {error.strerror or error}") from error
    except ValueError as error:  # the library's own check of names
        raise PullRefused(f"{repository!r} is no name of a repository: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


# ── the cache ────────────────────────────────────────────────────────────────────────────────────


def _is_right(path: Path, file: HubFile) -> bool:
    """Whether the bytes are those that the hub lists."""
    if len(file.digest) == _SHA256_DIGITS:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(usedforsecurity=False)  # git's name of a blob
        digest.update(b"blob %d\0" % file.size_bytes)
    with path.open("rb") as written:
        while piece := written.read(PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest() == file.digest


def _empty(file: IO[bytes]) -> None:
    file.truncate(0)
    file.seek(0)


def _link(path: Path, blob: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.exists():
        path.unlink()
    path.symlink_to(os.path.relpath(blob, path.parent))


def _refer(home: Path, revision: str, commit: str) -> None:
    """Last: from now on the revision means this commit."""
    if revision != commit:
        reference = home / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)


if __name__ == "__main__":
    main()
