"""Commands that use models, or make them ready to be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from citadel_tui.cli.arguments.adding import add_command
from citadel_tui.cli.values import count

if TYPE_CHECKING:
    from citadel_tui.cli.arguments.adding import Commands


def using_commands(commands: Commands) -> None:
    """Add them."""
    _request_commands(commands)
    _models_command(commands)
    _prepare_command(commands)


def _request_commands(commands: Commands) -> None:
    embed = add_command(commands, "embed", "vectors of texts, and how alike they are")
    embed.set_defaults(module="embed")
    embed.add_argument("model")
    embed.add_argument("texts", nargs="+", metavar="TEXT")
    embed.add_argument("--json", action="store_true", help="the whole vectors")
    generate = add_command(commands, "generate", "a model's continuation of a prompt")
    generate.set_defaults(module="generate")
    generate.add_argument("model")
    generate.add_argument("prompt")
    generate.add_argument("--max-tokens", type=count, default=32, metavar="N")
    selftest = add_command(commands, "selftest", "load, switch and fall back for real, then put everything back")
    selftest.set_defaults(module="selftest")


def _models_command(commands: Commands) -> None:
    models = add_command(commands, "models", "the catalog")
    actions = models.add_subparsers(title="commands", metavar="COMMAND", dest="action", required=True)
    shown = add_command(actions, "list", "what the engine knows of each model")
    shown.set_defaults(module="models")
    made = add_command(actions, "make", "make synthetic models: real shapes, random weights")
    made.set_defaults(module="making")
    made.add_argument("kinds", nargs="*", metavar="KIND", help="those of the catalog when left out")


def _prepare_command(commands: Commands) -> None:
    prepare = add_command(commands, "prepare", "write models' slabs before they are asked for; needs no engine")
    prepare.set_defaults(module="prepare")
    prepare.add_argument("models", nargs="*", metavar="MODEL", help="all of the catalog when left out")
    depth = prepare.add_mutually_exclusive_group()
    depth.add_argument(
        "--check",
        action="store_const",
        dest="depth",
        const="checksum",
        help="compare the checksums of slab and source; a damaged slab, or one whose source has changed, is built again",
    )
    depth.add_argument(
        "--again", action="store_const", dest="depth", const="nothing", help="build it again, whatever is there"
    )
    prepare.set_defaults(depth="sizes")
