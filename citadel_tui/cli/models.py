"""`citadel models [list|info|add|rm|alias|reload|make]`: the catalog, as the engine sees it and as it comes to be; and synthetic
models for it.

Those are written by a process of their own, since that one needs torch.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from citadel_tui.cli.catalog import models_of_catalog
from citadel_tui.cli.engine import at_hand, attached, if_running, our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import table, tell
from citadel_tui.cli.parser import Arguments, CommandParser, add_command
from citadel_tui.text import clean
from citadel_tui.words.figures import mib_text, seconds_text
from citadel_tui.words.labels import model_label
from citadel_tui.words.setup import no_models_text
from engine.api import ReadOnly, UnknownModel
from engine.core.catalog import CatalogChange, catalog_change_text
from engine.core.model_names import model_meant, unknown_model
from engine.core.models import Dtype, Footprint
from engine.core.names import ModelName
from engine.core.sizes import mib_range
from engine.core.state import ModelState, State
from engine.core.tasks import TaskKind
from engine.libraries import check_libraries
from engine.paths import make_folders

if TYPE_CHECKING:
    from engine.own_models import OwnModels


class MakeArguments(Arguments, frozen=True, kw_only=True):
    kinds: Sequence[str]


class OwnSource(Arguments, frozen=True, kw_only=True):
    """Where a model of one's own comes from, and what it is to be called and taken for."""

    source: str
    name: str | None
    task: TaskKind | None
    dtype: Dtype | None
    aliases: Sequence[str]
    max_sequence: int | None


class NameArguments(Arguments, frozen=True, kw_only=True):
    model: str


class AliasArguments(NameArguments, frozen=True, kw_only=True):
    aliases: Sequence[str]
    rm: bool


def add_arguments(command: CommandParser) -> None:
    actions = command.add_subparsers(title="commands", metavar="COMMAND", dest="action")
    add_command(actions, "list", "what the engine knows of each model", _add_list)
    add_command(actions, "info", "all that it knows of one", _add_info)
    add_command(actions, "add", "put a model of your own into the catalog", _add_add)
    add_command(actions, "rm", "take a model out of the catalog; its files stay", _add_rm)
    add_command(actions, "alias", "let a model be called by other names, too", _add_alias)
    add_command(actions, "reload", "have the engine take up what the catalog's file says now", _add_reload)
    add_command(actions, "make", "make synthetic models: real shapes, random weights", _add_make)
    _add_list(command)  # without a further word


def _add_list(command: CommandParser) -> None:
    command.carried_out_by(_list, Arguments)


def _add_info(command: CommandParser) -> None:
    command.add_argument("model", metavar="MODEL", help="by its name, an alias, or its name on the hub")
    command.carried_out_by(_info, NameArguments)


def _add_add(command: CommandParser) -> None:
    command.add_argument(
        "source", metavar="SOURCE", help="path:DIR, or hub:REPO[@REVISION] that `citadel pull` has fetched"
    )
    add_naming(command)
    command.carried_out_by(_add, OwnSource)


def add_naming(command: CommandParser) -> None:
    """What may be said of a model that is added."""
    command.add_argument("--name", help="that of the folder or the repository when left out")
    command.add_argument("--task", choices=get_args(TaskKind), help="found in its files when left out")
    command.add_argument("--dtype", choices=get_args(Dtype), help="that of its files when left out")
    command.add_argument(
        "--alias", action="append", default=[], dest="aliases", metavar="NAME", help="may be given again"
    )
    command.add_argument("--max-sequence", type=int, metavar="TOKENS", help="what the model reads when left out")


def says_anything(arguments: OwnSource) -> bool:
    """Whether anything of that was said."""
    said = arguments.name, arguments.task, arguments.dtype, arguments.aliases, arguments.max_sequence
    return any(said)


def _add_rm(command: CommandParser) -> None:
    command.add_argument("model", metavar="MODEL")
    command.carried_out_by(_remove, NameArguments)


def _add_alias(command: CommandParser) -> None:
    command.add_argument("model", metavar="MODEL")
    command.add_argument("aliases", nargs="+", metavar="NAME")
    command.add_argument("--rm", action="store_true", help="it is not called so any more")
    command.carried_out_by(_alias, AliasArguments)


def _add_reload(command: CommandParser) -> None:
    command.carried_out_by(_reload, Arguments)


def _add_make(command: CommandParser) -> None:
    command.add_argument("kinds", nargs="*", metavar="KIND", help="those of the catalog when left out")
    command.carried_out_by(_make, MakeArguments)


# ── what is there ────────────────────────────────────────────────────────────────────────────────


def _list(arguments: Arguments) -> int:
    return asyncio.run(_listed(arguments))


async def _listed(arguments: Arguments) -> Exit:
    async with at_hand(arguments) as engine:
        models = (await engine.snapshot()).state.models.values()
        config = (await engine.hello()).config
    if not models:
        tell(no_models_text(config))
        return Exit.DONE
    headings = ["MODEL", "TASK", "DTYPE", "WEIGHTS MiB", "WORKSPACE MiB", "FOOTPRINT", "LIMIT", "SOURCE", "TROUBLE"]
    print(table(headings, [_cells(model) for model in models], right=("WEIGHTS MiB", "WORKSPACE MiB", "LIMIT")))
    for model in models:
        if model.remark:
            print(clean(f"{model.spec.name}: {model.remark}" if model.spec.name not in model.remark else model.remark))
    return Exit.DONE


def _how_known(footprint: Footprint) -> str:
    """The label, and what measured runs needed with the weights."""
    return footprint.label + (f", runs {mib_range(*footprint.run_bytes)}" if footprint.run_bytes else "")


def _cells(model: ModelState) -> list[str]:
    spec, footprint = model.spec, model.footprint
    return [
        model_label(spec.name, synthetic=model.synthetic),
        spec.task,
        spec.dtype,
        mib_text(footprint.weights_bytes),
        mib_text(footprint.workspace_bytes),
        _how_known(footprint),
        f"{spec.limits.max_batch}x{spec.limits.max_sequence}" if not model.trouble else "-",
        model.source or "-",
        model.trouble or "-",
    ]


def _info(arguments: NameArguments) -> int:
    return asyncio.run(_told(arguments))


async def _told(arguments: NameArguments) -> Exit:
    async with at_hand(arguments) as engine:
        state = (await engine.snapshot()).state
    specs = {name: known.spec for name, known in state.models.items()}
    name = model_meant(specs, arguments.model)
    if name is None:
        raise UnknownModel(unknown_model(specs, arguments.model))
    for line in _info_lines(state, name):
        print(clean(line))
    return Exit.DONE


# ── what is to be there ──────────────────────────────────────────────────────────────────────────


def _add(arguments: OwnSource) -> int:
    asyncio.run(add_model(arguments, arguments.source))
    return Exit.DONE


async def add_model(arguments: OwnSource, source: str) -> None:
    """Have it in the catalog, and say so. Raises EngineError."""
    from engine.own_models import NewModel

    asked = NewModel(
        source,
        arguments.name,
        arguments.task,
        arguments.dtype,
        tuple(arguments.aliases),
        arguments.max_sequence,
    )
    async with _own_models(arguments) as own:
        added = await own.add(asked)
    for line in _added_lines(added.known):
        print(clean(line))
    for remark in added.remarks:
        tell(remark)
    _tell_change(added.change)


def _remove(arguments: NameArguments) -> int:
    return asyncio.run(_removed(arguments))


async def _removed(arguments: NameArguments) -> Exit:
    async with _own_models(arguments) as own:
        name, change = await own.remove(arguments.model)
    print(clean(f"{name} is not in the catalog any more; its files stay"))
    _tell_change(change)
    if change is not None and name in change.leaving:
        tell(f"it still answers; `citadel evict {name}` takes it off its device")
    return Exit.DONE


def _alias(arguments: AliasArguments) -> int:
    return asyncio.run(_aliased(arguments))


async def _aliased(arguments: AliasArguments) -> Exit:
    async with _own_models(arguments) as own:
        change_aliases = own.remove_aliases if arguments.rm else own.add_aliases
        name, change = await change_aliases(arguments.model, arguments.aliases)
    is_called = "is no more called" if arguments.rm else "is called"
    print(clean(f"{name} {is_called} {', '.join(arguments.aliases)}"))
    _tell_change(change)
    return Exit.DONE


def _reload(arguments: Arguments) -> int:
    return asyncio.run(_reloaded(arguments))


async def _reloaded(arguments: Arguments) -> Exit:
    async with attached(arguments) as engine:
        change = await engine.reload()
    print(clean(catalog_change_text(change)))
    for remark in change.remarks:
        tell(remark)
    return Exit.DONE


async def check_own_catalog(arguments: Arguments) -> None:
    """Whether a model can be added at all. Raises EngineError."""
    async with _own_models(arguments):
        return


@asynccontextmanager
async def _own_models(arguments: Arguments) -> AsyncIterator[OwnModels]:
    """Those of the engine that runs, else those of the configuration that the next one is started with."""
    from engine.own_models import OwnModels, refuse_defaults
    from engine.settings import find_config_folder

    if arguments.read_only:
        raise ReadOnly("a console that may only watch changes no catalog; nothing was changed")
    async with if_running(arguments) as engine:
        if engine is not None:
            folder = Path((await engine.hello()).config)
        else:
            folder = find_config_folder(arguments.config, os.environ, Path.cwd())
        refuse_defaults(folder)
        yield OwnModels(folder, os.environ, engine)


def _tell_change(change: CatalogChange | None) -> None:
    if change is None:
        tell("no engine runs; the next one finds it so")
    else:
        tell(f"the engine has taken it up: {catalog_change_text(change)}")


# ── in words ─────────────────────────────────────────────────────────────────────────────────────


def _added_lines(known: ModelState) -> Iterator[str]:
    """What is said of a model that was added just now."""
    spec = known.spec
    yield f"{spec.name}: {spec.task}, {spec.dtype}, texts of up to {spec.limits.max_sequence} tokens; {_needs(known)}"
    yield f"taken from {known.source}" + (
        "" if known.prepared else f"; `citadel prepare {spec.name}` makes its first load fast"
    )


def _info_lines(state: State, name: ModelName) -> Iterator[str]:
    """All that is known of a model, a line each."""
    known = state.models[name]
    spec = known.spec
    yield model_label(name, synthetic=known.synthetic)
    yield f"  called    {', '.join(spec.aliases) or 'by its name alone'}"
    yield f"  task      {spec.task}"
    yield f"  dtype     {spec.dtype}"
    if not known.trouble:
        cut = ", longer ones are cut" if spec.limits.truncate else ""
        yield f"  limits    {spec.limits.max_batch} texts at once, of up to {spec.limits.max_sequence} tokens{cut}"
        yield f"  needs     {_needs(known)}"
        if known.footprint.run_bytes:
            yield f"  runs      took {mib_range(*known.footprint.run_bytes)} with the weights"
    yield f"  source    {known.source or ', '.join(spec.sources)}" + (f" at {spec.revision}" if spec.revision else "")
    yield f"  prepared  {'yes' if known.prepared else f'no; `citadel prepare {name}` does it'}"
    yield f"  on        {', '.join(f'{r.device} ({r.stage})' for r in state.of(name)) or 'no device'}"
    if known.pin is not None:
        yield f"  pinned    {known.pin.device or 'wherever it is'}"
    if known.keep_alive_s is not None:
        yield f"  leaves    after {seconds_text(known.keep_alive_s)} idle"
    for word, text in (("trouble", known.trouble), ("remark", known.remark)):
        if text:
            yield f"  {word:<9} {text}"


def _needs(known: ModelState) -> str:
    footprint = known.footprint
    weights, workspace = mib_text(footprint.weights_bytes), mib_text(footprint.workspace_bytes)
    return f"{weights} MiB of weights and {workspace} MiB to run ({footprint.label})"


# ── synthetic ones ───────────────────────────────────────────────────────────────────────────────


def _make(arguments: MakeArguments) -> int:
    kinds = list(arguments.kinds) or _kinds_of_catalog(arguments.config)
    if not kinds:
        tell("no model of the catalog has a synthetic source; name a kind")
        return Exit.FAILED
    check_libraries()
    paths = our_paths()
    make_folders(paths)
    tell(f"making {', '.join(kinds)} in {paths.cache} …")
    program = [sys.executable, "-P", "-m", "engine.worker.synthetic", str(paths.cache), *kinds]
    return subprocess.run(program, check=False).returncode


def _kinds_of_catalog(config: Path | None) -> list[str]:
    sources = [source for model in models_of_catalog(config) for source in model.sources]
    return [source.removeprefix("synthetic:") for source in sources if source.startswith("synthetic:")]
