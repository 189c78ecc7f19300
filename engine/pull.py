"""Fetches models from the hub in a process of its own: the only one of ours that asks the network, and the only one that may."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Final

import msgspec

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
    """What `REPO` or `REPO@REVISION` asks for, with or without `hub:` before it."""
    repository, at, revision = text.removeprefix("hub:").partition("@")
    return PullOrder(repository, revision if at else None)


def pull_source(order: PullOrder) -> str:
    """The source that a catalog has for it, with its revision."""
    return f"hub:{order.repository}" + (f"@{order.revision}" if order.revision else "")


@contextmanager
def pulling(order: PullOrder, program: Sequence[str] = PULLING_PROGRAM) -> Iterator[Iterator[PullNews]]:
    """What is said while `order` is fetched, the outcome last. Leaving the block early ends the process; what has come stays for
    the next try. Iterating raises PullBroke when the process ends without an outcome."""
    with tempfile.TemporaryFile() as complaints:
        process = begun(program, complaints, **_ONLINE)
        try:
            yield _news(process, order, complaints)
        finally:
            end(process)


def _news(process: subprocess.Popen[bytes], order: PullOrder, complaints: IO[bytes]) -> Iterator[PullNews]:
    decoder: msgspec.json.Decoder[PullNews] = msgspec.json.Decoder(PullNews)
    for item in said(process, order, decoder):
        yield item
        if isinstance(item, Pulled | NotPulled):
            return
    raise PullBroke(f"fetching {order.repository} broke off: {cause_of(process.wait(), complaints)}; what came is kept")
