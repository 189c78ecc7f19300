"""`citadel why MODEL`: how the model came to be where it is, or isn't, and what would happen if it were asked for now."""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Struct

from citadel_tui.cli.engine import attached
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.words.labels import labels
from citadel_tui.words.records import explanation_text
from citadel_tui.words.requests import faring_text
from engine.api import UnknownModel
from engine.core.commands import Load
from engine.core.insight.request_figures import RequestFigures
from engine.core.insight.why import Explanation, explain
from engine.core.model_names import model_meant, unknown_model
from engine.core.names import ModelName
from engine.core.plans import Plan, Refusal
from engine.core.serialization import to_json

_RECORDS: Final = 1000
"""All that the engine keeps at hand."""


class _Answer(Struct, frozen=True):
    """What `--json` prints."""

    explanation: Explanation
    asked_now: Plan | Refusal
    request_figures: RequestFigures | None
    """None when it was not asked for since the engine started."""


class WhyArguments(Arguments, frozen=True, kw_only=True):
    model: ModelName
    json: bool


def add_arguments(command: CommandParser) -> None:
    command.add_argument("model")
    command.add_argument("--json", action="store_true", help="the records and figures as JSON")
    command.carried_out_by(run, WhyArguments)


def run(arguments: WhyArguments) -> int:
    return asyncio.run(_why(arguments))


async def _why(arguments: WhyArguments) -> Exit:
    async with attached(arguments) as engine:
        snapshot = await engine.snapshot()
        known = snapshot.state.models
        specs = {name: model.spec for name, model in known.items()}
        model = model_meant(specs, arguments.model)
        if model is None:
            raise UnknownModel(unknown_model(specs, arguments.model))
        explained = explain(snapshot.state, await engine.records(_RECORDS), model)
        asked_now = await engine.plan(Load(model))
    figures = snapshot.requests.get(model)
    if arguments.json:
        print(to_json(_Answer(explained, asked_now, figures)).decode())
        return Exit.DONE
    print(explanation_text(explained, asked_now, snapshot, labels(snapshot.state)))
    if figures is not None:
        print(f"\nits requests: {faring_text(figures, known[model].spec.task)}")
    return Exit.DONE
