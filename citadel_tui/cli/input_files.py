"""What the operator names on the command line to be replayed or played: files, read line by line, generated demand, or what the
engine itself was asked. What is wrong with a file is told with its path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from citadel_tui.cli.engine import attached, our_paths
from citadel_tui.cli.output import tell
from citadel_tui.cli.parser import Arguments, CommandParser
from citadel_tui.cli.values import EXAMPLE, GeneratedDemand, budgets, generated_demand, size
from engine.api import EngineError, EngineUnreachable
from engine.core.names import ModelName
from engine.core.policy import Policy
from engine.core.state import State
from engine.recording.demand import own_demand
from engine.recording.trace import TraceError, TraceRequest, read_trace
from engine.replay.box import Box, cycled_sizes, read_sizes
from engine.simulation.variants import Setup, on_other_gpus, setup_of

if TYPE_CHECKING:
    from argparse import _ActionsContainer

_Read = TypeVar("_Read")
_LEFT: Final = "nothing was replayed"


def read_lines(path: Path, read: Callable[[Iterable[str]], _Read], left: str) -> _Read:
    """What `read` makes of the lines of `path`. Raises EngineError, which says what was `left` undone."""
    try:
        with path.open(encoding="utf-8") as file:
            return read(file)
    except OSError as error:
        raise EngineError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise EngineError(f"{path} is not text in UTF-8") from None
    except TraceError as error:
        raise EngineError(f"{path}, {error}; {left}") from None


class DemandArguments(Arguments, frozen=True, kw_only=True):
    """The demand that is replayed, and on which box."""

    trace: Path | None
    generated: GeneratedDemand | None
    gpus: tuple[int, ...] | None
    """Budgets in bytes."""
    ram: int | None
    """Bytes."""
    sizes: str | None
    """`cycle`, or a file's path."""

    @property
    def demand(self) -> str:
        """In words."""
        if self.trace is not None:
            return str(self.trace)
        return "the engine's demand" if self.generated is None else self.generated.text


def add_generated(command: _ActionsContainer) -> None:
    """The option that asks for generated demand; it leaves the trace out."""
    command.add_argument(
        "--generated", type=generated_demand, metavar="SPEC", help=f"instead of a trace: {EXAMPLE}[,gap_cv=1]"
    )


def add_box(command: CommandParser) -> None:
    """The options that say on which box."""
    command.add_argument("--gpus", type=budgets, metavar="NxSIZE", help="their budgets (2x4.8GB)")
    command.add_argument("--ram", type=size, metavar="SIZE", help="the RAM tier's budget (11.26GB)")
    command.add_argument("--sizes", metavar="cycle|FILE", help="lines of model,size; or in turn (cycle)")


class Inputs(Struct, frozen=True):
    """All that a replay needs."""

    requests: tuple[TraceRequest, ...]
    setup: Setup
    """Without models that have left the engine's catalog."""


def read_inputs(arguments: DemandArguments) -> Inputs:
    """The engine's own demand where no other is named. Raises EngineError where something is missing or damaged."""
    requests = _requests(arguments)
    setup = _setup(arguments, {request.model for request in requests})
    if arguments.gpus is not None:
        setup = on_other_gpus(setup, arguments.gpus)
    if arguments.ram is not None:
        setup = replace(setup, box=replace(setup.box, ram_bytes=arguments.ram))
    return Inputs(requests, setup)


def generated_requests(wanted: GeneratedDemand) -> tuple[TraceRequest, ...]:
    from engine.replay.generated import demand  # numpy, which nothing else here needs

    return demand(wanted.models, wanted.zipf, wanted.gap_cv, seed=wanted.seed, requests=wanted.requests)


def _requests(arguments: DemandArguments) -> tuple[TraceRequest, ...]:
    if arguments.trace is not None:
        return read_lines(arguments.trace, read_trace, _LEFT)
    if arguments.generated is not None:
        return generated_requests(arguments.generated)
    try:
        demand = own_demand(our_paths().demand)
    except TraceError as error:
        raise EngineError(f"{error}; {_LEFT}") from None
    except OSError as error:
        raise EngineError(f"{error.filename} can't be read: {error.strerror}") from None
    if demand.left_out:
        tell(demand.left_out)
    return demand.requests


def _setup(arguments: DemandArguments, models: set[ModelName]) -> Setup:
    """Sizes and box are the running engine's for its own demand, unless they are given."""
    own = arguments.trace is None and arguments.generated is None
    if arguments.sizes not in (None, "cycle"):
        sizes = read_lines(Path(arguments.sizes), lambda lines: read_sizes(lines, models), _LEFT)
        return Setup(Box(), sizes)
    if arguments.sizes == "cycle" or not own:
        return Setup(Box(), cycled_sizes(models))
    state, policy = asyncio.run(_engine(arguments))
    setup = setup_of(state, policy, sorted(models & state.models.keys()))
    if not setup.box.gpus_bytes and arguments.gpus is None:
        raise EngineError("the engine has no GPU; say which to replay on with --gpus")
    return setup


async def _engine(arguments: DemandArguments) -> tuple[State, Policy]:
    try:
        async with attached(arguments) as engine:
            return (await engine.snapshot()).state, (await engine.hello()).policy
    except EngineUnreachable as error:
        raise EngineUnreachable(f"{error} It would tell the models' sizes; --sizes FILE does, too.") from None
