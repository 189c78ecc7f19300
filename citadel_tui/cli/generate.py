"""`citadel generate`: what a model writes after a prompt, to stdout; words to stderr.

On a terminal the text is shown as it comes. Elsewhere it is written once it is whole, so that whoever reads it has all of it or
nothing; `--stream` has it written as it comes there, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence

from citadel_tui.cli.engine import at_hand, request
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import progress, tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import count
from citadel_tui.text import clean_lines
from citadel_tui.words.figures import seconds_text
from citadel_tui.words.labels import model_label
from engine.answers import Generation, TextSoFar
from engine.api import EngineAPI, EngineError, generation_of
from engine.core.names import ModelName
from engine.core.serialization import to_json
from engine.core.tasks import Generate, Message, RunResult, TextPart


class GenerateArguments(Arguments, frozen=True, kw_only=True):
    model: ModelName
    prompt: str
    max_tokens: int
    chat: bool
    raw: bool
    system: str | None
    template: str | None
    sample: bool
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    repetition_penalty: float | None
    seed: int | None
    stop: Sequence[str]
    stream: bool
    json: bool


def add_arguments(command: CommandParser) -> None:
    add = command.add_argument
    add("model")
    add("prompt")
    add("--max-tokens", type=count, default=32, metavar="N")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--raw", action="store_true", help="go on with the prompt as it is; so it is without --chat")
    form.add_argument("--chat", action="store_true", help="the prompt is a message, put into the model's chat template")
    add("--system", metavar="TEXT", help="a message before it that says how to answer; means --chat")
    add("--template", metavar="NAME", help="which chat template, of a model that has several; means --chat")
    add("--sample", action="store_true", help="draw tokens, as the checkpoint's own settings ask; else the most likely")
    add("--temperature", type=float, metavar="T", help="draw, with this temperature; 0: the most likely token")
    add("--top-p", type=float, metavar="P", help="draw, from the most likely tokens that make up P")
    add("--top-k", type=int, metavar="K", help="draw, from the K most likely tokens; 0: from all")
    add("--min-p", type=float, metavar="P", help="draw, from tokens at least P times as likely as the best")
    add("--repetition-penalty", type=float, metavar="X", help="above 1: tokens that are there already are less likely")
    add("--seed", type=int, metavar="N", help="of a draw: the same gives the same text")
    add("--stop", action="append", default=[], metavar="TEXT", help="end before TEXT; may be given several times")
    output = command.add_mutually_exclusive_group()
    output.add_argument("--stream", action="store_true", help="as it comes, also where stdout is no terminal")
    output.add_argument("--json", action="store_true", help="the text and all about it, once it is whole")
    command.carried_out_by(run, GenerateArguments)


def run(arguments: GenerateArguments) -> int:
    is_chat = arguments.chat or arguments.system is not None or arguments.template is not None
    if arguments.raw and is_chat:
        tell("--system and --template are about a conversation, --raw asks for none")
        return Exit.NO_ENGINE
    try:
        task = _task(arguments, is_chat=is_chat)
    except ValueError as error:
        tell(str(error))
        return Exit.NO_ENGINE
    return request(arguments.model, _generate(arguments, task))


def _task(arguments: GenerateArguments, *, is_chat: bool) -> Generate:
    """Raises ValueError."""
    prompt: str | tuple[Message, ...] = arguments.prompt
    if is_chat:
        system = () if arguments.system is None else (Message("system", arguments.system),)
        prompt = (*system, Message("user", arguments.prompt))
    return Generate(
        prompt,
        arguments.max_tokens,
        template=arguments.template or "",
        sample=arguments.sample,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        top_k=arguments.top_k,
        min_p=arguments.min_p,
        repetition_penalty=arguments.repetition_penalty,
        seed=arguments.seed,
        stop=tuple(arguments.stop),
    )


async def _generate(arguments: GenerateArguments, task: Generate) -> Exit:
    page = _Page(is_live=arguments.stream or (sys.stdout.isatty() and not arguments.json))
    async with at_hand(arguments) as engine:
        try:
            wrote = generation_of(await _carried_out(engine, arguments.model, task, page))
            if arguments.json:
                print(to_json(wrote).decode())
            else:
                page.end(wrote.text)
        except (asyncio.CancelledError, EngineError):
            page.break_off()
            raise
    if not arguments.json:
        tell(_described(wrote, task))
    return Exit.DONE


async def _carried_out(engine: EngineAPI, model: ModelName, task: Generate, page: _Page) -> RunResult:
    with contextlib.ExitStack() as before_text:
        before_text.enter_context(progress())(f"{model} writes up to {task.max_tokens} tokens")
        async with contextlib.aclosing(engine.run(model, task)) as events:
            async for event in events:
                if isinstance(event, RunResult):
                    return event
                if page.is_live:
                    before_text.close()
                    page.add(event)
    raise EngineError(f"the run of {model} ended without a result")


class _Page:
    """A text on stdout: as it comes, or at once."""

    def __init__(self, *, is_live: bool) -> None:
        self.is_live = is_live
        self._shown = TextSoFar()

    def add(self, part: TextPart) -> None:
        """Raises EngineError where the run began anew and writes something else, and nothing can be taken back."""
        new = self._shown.add(part)
        print(clean_lines(self._anew(part) if new is None else new), end="", flush=True)

    def end(self, text: str) -> None:
        """Raises EngineError as above."""
        rest = self._shown.end(text)
        print(clean_lines(self._anew(TextPart(0, text)) if rest is None else rest))

    def break_off(self) -> None:
        """End the line that the text is in the middle of."""
        if self._shown.text and not self._shown.text.endswith("\n"):
            print()

    def _anew(self, part: TextPart) -> str:
        """A terminal shows another text below; a pipe or a file has the first one already."""
        if not sys.stdout.isatty():
            raise EngineError("the run had to begin anew for want of room, and wrote something else then; ask again")
        print("\n")
        return self._shown.replace(part)


def _described(wrote: Generation, task: Generate) -> str:
    label = model_label(wrote.model, synthetic=wrote.synthetic)
    ends = {
        "eos": "the model ended it",
        "stop": f"ended by {wrote.stop!r}",
        "length": f"ended by its length, {task.max_tokens}",
    }
    seed = "" if wrote.seed is None else f"; seed {wrote.seed}"
    return (
        f"{label} on {wrote.device}: {wrote.tokens} tokens in {seconds_text(wrote.seconds)},"
        f" after a prompt of {wrote.prompt_tokens}; {ends[wrote.ended]}{seed}"
    )
