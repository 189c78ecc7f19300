"""Fetches models from the hub in a process of its own: the only one of ours that asks the network, and the only one that may."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Self

from engine.api import EngineError
from engine.core.pulling import NotPulled, Pulled, PullNews, PullOrder
from engine.told_process import begun, cause_of, end, said

PULLING_PROGRAM: Final = ("-P", "-m", "engine.pull_program")
"""What Python runs. `-P` keeps a folder named engine in the working folder from being taken for ours."""
_ONLINE: Final = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
"""For this process alone."""


class PullBroke(EngineError):
    """The process ended without a word of what became of it; what came is kept."""


def order_of(text: str) -> PullOrder:
    """What `REPO` or `REPO@REVISION` asks for, with or without `hub:` before it. Raises EngineError."""
    repository, at, revision = text.removeprefix("hub:").partition("@")
    if at and not revision:
        raise EngineError(f"{text} names no revision behind the @; leave that out, too, for the newest")
    return PullOrder(repository, revision if at else None)


def pull_source(order: PullOrder) -> str:
    """The source that a catalog has for it, with its revision."""
    return f"hub:{order.repository}" + (f"@{order.revision}" if order.revision else "")


class Pulling:
    """A repository on its way: iterate for what is said, the outcome last. Leaving the block ends the process; what has come
    stays for the next try."""

    def __init__(self, order: PullOrder, program: Sequence[str] = PULLING_PROGRAM) -> None:
        self._order: Final = order
        self._complaints: Final = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the block
        self._process: Final = begun(program, self._complaints, **_ONLINE)
        self._is_left = False

    def __iter__(self) -> Iterator[PullNews]:
        """Raises PullBroke when the process ends without an outcome, unless somebody has left."""
        for item in said(self._process, self._order, PullNews):
            yield item
            if isinstance(item, Pulled | NotPulled):
                return
        if not self._is_left:
            cause = cause_of(self._process.wait(), self._complaints)
            raise PullBroke(f"fetching {self._order.repository} broke off: {cause}; what came is kept")

    def leave(self) -> None:
        """Have it end soon, and nothing more said: from any thread."""
        self._is_left = True
        self._process.terminate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._process)
        self._complaints.close()
