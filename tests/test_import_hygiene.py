"""What each process must not import: the console and the engine stay light, and the core knows nobody."""

from __future__ import annotations

import ast
import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engine.core
from citadel_tui.cli.parser import COMMANDS, module_of
from engine.paths import find_paths
from tests.scripted_engine import ScriptedEngine
from tests.service.serving import serving

HEAVY = {"torch", "transformers", "pynvml", "ray"}
CORE = Path(engine.core.__path__[0])


def _modules_after(program: str) -> set[str]:
    """What is in `sys.modules` after `program` has run in a fresh Python."""
    ask = "import sys; sys.stderr.write('\\n' + ' '.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", f"{program}\n{ask}"], capture_output=True, text=True, check=True)
    return set(ran.stderr.splitlines()[-1].split())


def _imported_by(program: str) -> set[str]:
    """The top-level names among them."""
    return {name.partition(".")[0] for name in _modules_after(program)}


@pytest.mark.parametrize(
    "module",
    [
        "citadel_tui.app",
        "citadel_tui.cli",
        "citadel_tui.cli.bench",
        "citadel_tui.cli.prepare",
        "citadel_tui.cli.replay",
        "engine.client",
        "engine.process",
    ],
)
def test_the_consoles_process_never_imports_what_only_workers_need(module: str) -> None:
    assert not _imported_by(f"import {module}") & (HEAVY | {"aiohttp"})


@pytest.mark.parametrize(
    "module",
    [
        *("engine.runtime.engine", "engine.service.__main__"),
        *("fleet.service", "fleet.operations", "fleet.joining", "fleet.ray_agent", "fleet.ray_node"),
    ],
)
def test_no_service_and_no_agent_imports_torch_and_ray_comes_with_the_first_box_beyond_it(module: str) -> None:
    assert not _imported_by(f"import {module}") & HEAVY


@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"]])
async def test_asking_for_the_status_imports_neither_models_nor_screens(arguments: list[str]) -> None:
    async with serving(ScriptedEngine(), find_paths(os.environ)):
        program = f"from citadel_tui.cli import main\nassert main({arguments!r}) == 0"
        imported = await asyncio.to_thread(_imported_by, program)
    assert not imported & (HEAVY | {"aiohttp", "textual", "yaml", "numpy"})


@pytest.mark.parametrize("command", ["status", "doctor", "replay-session"])
def test_explaining_a_command_imports_the_module_of_no_other(command: str) -> None:
    program = f"from citadel_tui.cli import main\ntry: main([{command!r}, '--help'])\nexcept SystemExit: pass"
    assert _modules_after(program) & {module_of(name) for name in COMMANDS} == {module_of(command)}


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: str(path.relative_to(CORE)))
def test_the_core_imports_itself_the_standard_library_and_msgspec(path: Path) -> None:
    imported = {name for node in ast.walk(ast.parse(path.read_text())) for name in _names(node)}
    outside = {name for name in imported if not name.startswith("engine.core")}
    assert {name.partition(".")[0] for name in outside} <= {*sys.stdlib_module_names, "msgspec"}
    assert not outside & {"asyncio", "logging", "time", "os", "threading", "socket", "subprocess"}


def _names(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module)):
            return [f"{module}.{alias.name}" if module == "engine" else module for alias in node.names]
        case _:
            return []
