"""What can be asked of the engine, one type a verb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from engine.core.names import DeviceId, ModelName
from engine.core.texts import in_brief

Origin: TypeAlias = Literal["operator", "request", "config", "restore", "trial", "queue"]
"""Who asked: a person, a request for a model that was not ready, the preload list, a restart, a measurement that puts
everything back, or a queue of requests that is worth another copy of their model."""


class Load(Struct, frozen=True, tag="load"):
    """Make the model ready on `device`, or on the best one when None; elsewhere it leaves once it is."""

    model: ModelName
    device: DeviceId | None = None
    also: bool = False
    """Whether it stays where it is, so that this is one more copy."""


class Evict(Struct, frozen=True, tag="evict"):
    """Take the model off `device`, or off every device when None."""

    model: ModelName
    device: DeviceId | None = None


class SetPin(Struct, frozen=True, tag="pin"):
    """Never make the model a victim; with a device, keep it there."""

    model: ModelName
    device: DeviceId | None = None


class Unpin(Struct, frozen=True, tag="unpin"):
    """Let the model be a victim again."""

    model: ModelName


class ForceCpu(Struct, frozen=True, tag="cpu"):
    """Run the model on the CPU and pin it there."""

    model: ModelName


class LeaveCpu(Struct, frozen=True, tag="leave-cpu"):
    """Undo ForceCpu: unpin the model and load it on the best GPU."""

    model: ModelName


class Move(Struct, frozen=True, tag="move"):
    """Make the model ready on `device`, then take it off where it is."""

    model: ModelName
    device: DeviceId


Single: TypeAlias = Load | Evict | SetPin | Unpin | ForceCpu | LeaveCpu | Move
"""A command for one model."""


class Batch(Struct, frozen=True, tag="batch"):
    """Several commands as one plan: previewed together, carried out in order, undone together."""

    title: str
    """What it does, as a person would say it: "rebalance", "evict 3 models"."""
    commands: tuple[Single, ...]
    undoes: str | None = None
    """Id of the change that it takes back (`State.changes`)."""


Command: TypeAlias = Single | Batch


def singles_of(command: Command) -> tuple[Single, ...]:
    """The commands for one model that `command` consists of, in order."""
    return command.commands if isinstance(command, Batch) else (command,)


def models_of(command: Command) -> tuple[ModelName, ...]:
    """The models that `command` names, in order, each once."""
    return tuple(dict.fromkeys(single.model for single in singles_of(command)))


def renamed(command: Command, meant: Callable[[str], ModelName]) -> Command:
    """`command` with each of its models under the name that is `meant` by what it was called."""
    if isinstance(command, Batch):
        return replace(
            command, commands=tuple(replace(single, model=meant(single.model)) for single in command.commands)
        )
    return replace(command, model=meant(command.model))


def command_text(command: Command) -> str:
    """What the command asks for, in a few words: "load bge-base on gpu0"."""
    match command:
        case Load():
            also = " also" if command.also else ""
            return f"load {command.model}{also}" + (f" on {command.device}" if command.device else "")
        case Evict():
            return f"evict {command.model}" + (f" from {command.device}" if command.device else "")
        case SetPin():
            return f"pin {command.model}" + (f" on {command.device}" if command.device else "")
        case Unpin():
            return f"unpin {command.model}"
        case ForceCpu():
            return f"run {command.model} on the CPU"
        case LeaveCpu():
            return f"take {command.model} back from the CPU"
        case Move():
            return f"move {command.model} to {command.device}"
        case Batch():
            return command.title
        case _:
            assert_never(command)


def to_stand_on(
    model: ModelName, here: Sequence[DeviceId], wanted: Sequence[DeviceId]
) -> tuple[tuple[Evict, ...], tuple[Load | Move, ...]]:
    """What has `model`, which is `here`, stand on the devices `wanted` and nowhere else: what makes room, then what takes it."""
    gone = [device for device in here if device not in wanted]
    missing = [device for device in wanted if device not in here]
    if not wanted:
        return ((Evict(model),) if here else ()), ()
    if len(gone) == len(here) and here:  # it answers where it is until it has come
        return (), (Move(model, missing[0]), *(Load(model, device, also=True) for device in missing[1:]))
    evictions = tuple(Evict(model, device) for device in gone)
    return evictions, tuple(Load(model, device, also=bool(here) or number > 0) for number, device in enumerate(missing))


# ── bounds: what is kept of a command is shown in every snapshot while it lasts, and written down ──

MOST_ID: Final = 1000
"""Characters, as the others."""
MOST_TITLE: Final = 200
MOST_NAME: Final = 200
"""Characters of a model's name, an alias or a name of the hub, and of a device's."""
MOST_COMMANDS: Final = 256
"""Of a batch: planned before anybody notices."""
MOST_CONFIRMED: Final = 1 << 17
"""Characters of the effects that somebody agreed to: of the largest batch, and some more."""
OWN_IDS: Final = "engine:"
"""How the ids of the engine's own commands begin, so that no client's can stand in their way."""


def fault_of_command(command: Command) -> str:
    """Which bound the command is beyond, in words; empty for one that may be asked."""
    if isinstance(command, Batch):
        if len(command.commands) > MOST_COMMANDS:
            return f"a batch has at most {MOST_COMMANDS} commands, this one has {len(command.commands)}"
        if len(command.title) > MOST_TITLE or not command.title.isprintable():
            return f"a batch's title has at most {MOST_TITLE} characters, all of them printable; {in_brief(command.title)} is not"
        if command.undoes is not None and len(command.undoes) > MOST_ID:
            return f"an id has at most {MOST_ID} characters, that of the change to take back has {len(command.undoes)}"
    for single in singles_of(command):
        for name in (single.model, getattr(single, "device", None)):
            if name is not None and len(name) > MOST_NAME:
                return f"a name has at most {MOST_NAME} characters, {in_brief(name, 40)} has {len(name)}"
    return ""


def fault_of_submission(submission: Submission) -> str:
    """Which bound the submission is beyond, in words; empty for one that may be made."""
    given = submission.id
    if not 0 < len(given) <= MOST_ID or not given.isprintable() or given.startswith(OWN_IDS):
        return (
            f"a command's id has 1 to {MOST_ID} printable characters, and that of a client does not begin with {OWN_IDS};"
            f" {in_brief(given, 40) or 'an empty one'} is none"
        )
    if len(submission.confirmed or "") > MOST_CONFIRMED:
        return f"confirmed has at most {MOST_CONFIRMED} characters, here are {len(submission.confirmed or '')}"
    return fault_of_command(submission.command)


class Submission(Struct, frozen=True):
    """A command on its way to the engine."""

    id: str
    """Made by the client; sending the same again does nothing twice, and another command under the same id is refused."""
    command: Command
    origin: Origin = "operator"
    confirmed: str | None = None
    """`Plan.effects` of the plan that the operator agreed to. The engine plans again; when the effects differ, it answers
    `Changed` and does nothing. None accepts whatever the plan is."""
    now: bool = False
    """Whether runs that are in the way are ended, instead of waited for."""
