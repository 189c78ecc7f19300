"""Fetching a model from the hub: what is asked of the process that does it, and what it says as it goes."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class PullOrder(Struct, frozen=True):
    """A repository of the hub that is wanted."""

    repository: str
    revision: str | None = None
    """A commit, tag or branch; `main` when left out."""


class PullBegun(Struct, frozen=True, tag="begun"):
    """What there is to fetch is known, and has room."""

    files: int
    total_bytes: int
    there_bytes: int
    """Of these, so many have come earlier."""


class PullAdvanced(Struct, frozen=True, tag="advanced"):
    """Bytes have come."""

    file: str
    done_bytes: int
    """Of all files, those that were there included."""


class PullCut(Struct, frozen=True, tag="cut"):
    """The line broke, and the fetching goes on from where it was."""

    file: str
    reason: str


class Pulled(Struct, frozen=True, tag="pulled"):
    """All of it is in the Hugging Face cache, and its checksums are right."""

    folder: str
    commit: str
    size_bytes: int


class NotPulled(Struct, frozen=True, tag="not pulled"):
    """It is not; what came is kept, and the next try goes on with it."""

    reason: str


PullNews: TypeAlias = PullBegun | PullAdvanced | PullCut | Pulled | NotPulled
