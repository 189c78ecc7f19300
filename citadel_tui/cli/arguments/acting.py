"""Commands that change who is resident, and their plans."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import TYPE_CHECKING

from citadel_tui.cli.arguments.adding import add_command
from citadel_tui.cli.values import device

if TYPE_CHECKING:
    from citadel_tui.cli.arguments.adding import Commands


def acting_commands(commands: Commands) -> None:
    """Add them."""
    _verb_commands(commands)
    _plan_command(commands)
    _proposal_commands(commands)


def _verbs(commands: Commands) -> list[ArgumentParser]:
    """The commands that change who is resident, in the form that running and planning them share."""
    load = add_command(commands, "load", "make a model ready")
    load.add_argument("model")
    load.add_argument("--on", type=device, metavar="DEVICE", help="gpu0, gpu1, …, cpu; the best one when left out")
    evict = add_command(commands, "evict", "take a model off every device")
    evict.add_argument("model")
    pin = add_command(commands, "pin", "never make a model a victim")
    pin.add_argument("model")
    pin.add_argument("--on", type=device, metavar="DEVICE", help="and keep it there")
    unpin = add_command(commands, "unpin", "let a model be a victim again")
    unpin.add_argument("model")
    cpu = add_command(commands, "cpu", "run a model on the CPU and pin it there")
    cpu.add_argument("model")
    cpu.add_argument("--back", action="store_true", help="undo it: unpin the model and load it on the best GPU")
    move = add_command(commands, "move", "make a model ready on another device, then take it off its own")
    move.add_argument("model")
    move.add_argument("device", type=device)
    return [load, evict, pin, unpin, cpu, move]


def _verb_commands(commands: Commands) -> None:
    for verb in _verbs(commands):
        verb.add_argument("--yes", "-y", action="store_true", help="don't ask, whatever else the plan touches")
        verb.set_defaults(module="act")


def _plan_command(commands: Commands) -> None:
    plan = add_command(commands, "plan", "what a command would do now; changes nothing")
    verbs = plan.add_subparsers(title="commands", metavar="COMMAND", dest="verb", required=True)
    for verb in _verbs(verbs):
        verb.add_argument("--json", action="store_true", help="the plan or refusal as JSON")
        verb.set_defaults(module="preview")


def _proposal_commands(commands: Commands) -> None:
    rebalance = add_command(
        commands, "rebalance", "put models where the present demand is served with the least reloading"
    )
    drain = add_command(commands, "drain", "take everything off a device, to others as far as that pays")
    drain.add_argument("device", type=device)
    pack = add_command(commands, "pack", "free one device entirely")
    pack.add_argument("device", type=device, nargs="?", help="the one that is cheapest to free when left out")
    undo = add_command(commands, "undo", "take your last change back")
    for wish in (rebalance, drain, pack, undo):
        wish.add_argument("--apply", "--yes", "-y", dest="yes", action="store_true", help="do it without asking")
        wish.add_argument("--json", action="store_true", help="the proposal or refusal as JSON; nothing is done")
        wish.set_defaults(module="propose")
