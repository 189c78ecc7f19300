"""`citadel advise`: what would have saved requests switching and waiting, by replaying them on boxes that one doesn't have."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

from citadel_tui.cli.entry import Exit
from citadel_tui.cli.input_files import DemandArguments, add_box, add_generated, read_inputs
from citadel_tui.cli.output import progress, tell
from citadel_tui.cli.parser import CommandParser
from citadel_tui.cli.values import count, factor
from citadel_tui.text import clean
from citadel_tui.words.advice import (
    INTERVAL_TEXT,
    NOTHING_HELPS,
    advised_text,
    few_requests_text,
    of_no_use_text,
    suggestion_facts,
    trying_text,
)
from engine.api import EngineError
from engine.core.serialization import to_json
from engine.recording.trace import TraceError
from engine.simulation.advice import MOST_REQUESTS, Advice, Question, question
from engine.simulation.adviser import ask_for_advice


class AdviseArguments(DemandArguments, frozen=True, kw_only=True):
    work_per_s: float | None
    limit: int
    json: bool


def add_arguments(command: CommandParser) -> None:
    demand = command.add_mutually_exclusive_group()
    demand.add_argument(
        "--trace", type=Path, metavar="FILE", help="instead of the engine's own demand: lines of t_s,model,work"
    )
    add_generated(demand)
    add_box(command)
    command.add_argument(
        "--work-per-s", type=factor, metavar="N", help="what a GPU does of the requests' work; else runs take no time"
    )
    command.add_argument(
        "--limit", type=count, default=MOST_REQUESTS, metavar="N", help=f"the newest N requests ({MOST_REQUESTS})"
    )
    command.add_argument("--json", action="store_true", help="all of it, in seconds")
    command.carried_out_by(run, AdviseArguments)


def run(arguments: AdviseArguments) -> int:
    inputs = read_inputs(arguments)
    try:
        asked = question(inputs.setup, inputs.requests, arguments.work_per_s, arguments.limit)
    except TraceError as error:
        raise EngineError(f"{arguments.demand}: {error}") from None
    try:
        advice = asyncio.run(_answered(asked))
    except KeyboardInterrupt:
        tell("interrupted: no advice, and nothing was changed")
        return Exit.INTERRUPTED
    print(to_json(advice).decode() if arguments.json else "\n".join(advice_text(advice)))
    return Exit.DONE


async def _answered(asked: Question) -> Advice:
    if not sys.stderr.isatty():
        tell(f"replaying {len(asked.requests)} requests on boxes that you don't have …")
    with progress() as show:
        return await ask_for_advice(asked, lambda now: show(trying_text(now)))


def advice_text(advice: Advice) -> Iterator[str]:
    """Its lines: what was replayed, each suggestion with four of its own, and the rest in a line each."""
    yield from (f"{sentence}." for sentence in map(_upper, advised_text(advice)))
    if few := few_requests_text(advice.served):
        yield f"{_upper(few)}."
    yield ""
    for rank, suggestion in enumerate(advice.suggestions, 1):
        yield f"{rank}. {clean(suggestion.title)}"
        yield from (f"   {label:9}  {clean(value)}" for label, value in suggestion_facts(suggestion, advice))
        yield ""
    if not advice.suggestions:
        yield f"{_upper(NOTHING_HELPS)}."
    if of_no_use := of_no_use_text(advice.of_no_use):
        yield f"{_upper(clean(of_no_use))}."
    yield ""
    if advice.suggestions:
        yield f"{INTERVAL_TEXT}."
    yield from (f"{_upper(clean(remark))}." for remark in advice.remarks)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
