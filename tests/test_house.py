"""The rules of the house: how large a file, a folder and a function may be, what stands apart, where a name is defined."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from citadel_tui.cli.parser import COMMANDS, FAMILIES, module_of

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("citadel", "engine", "fleet", "citadel_tui")
MOST_LINES: Final = 400
MOST_LINES_OF_A_FUNCTION: Final = 60
MOST_MODULES_OF_A_FOLDER: Final = 40
ENOUGH_LINES: Final = 60
"""From here on a module stands by itself; with fewer it needs two readers, or a reason."""
REASON: Final = re.compile(r"(?:^|[.;:]\s+|\n)Kept apart: ")
ENTRY_POINTS: Final = {"run", "main", "add_arguments"}
"""What each module of a command, or of a program, defines."""

LOGGER: Final = "log"
"""Each module that logs has its own."""

READS_OF_OUTSIDE: Final = re.compile(
    r"msgspec\.(json|msgpack|yaml|toml|convert)\b|(json|yaml|tomllib|pickle|marshal)\.(safe_)?(loads?|JSONDecoder|Unpickler)\b"
    r"|msgspec\.(Msgspec|Validation|Decode)Error\b|request\.json\b"
)
DOORS: Final = {
    "engine/core/serialization.py": "the one door",
    "engine/settings/documents.py": "YAML, and JSON with each key that is given twice; the document is converted at the door",
    "engine/settings/catalog_text.py": "where in a catalog, which has been read, each value stands",
    "engine/weights/checkpoint_json.py": "the Infinity and NaN that Python writes, where the door refuses them",
    "engine/weights/recipes.py": "writes alone: a recipe's name is a hash of its JSON, which must stay",
}
"""Who may read what comes from outside, or catch what a decoder raises, and why: any other reader would have to know all that a
decoder may raise, and some always forget."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """A file of the house, read."""

    name: str
    path: Path
    lines: int
    tree: ast.Module

    @property
    def where(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def is_program(self) -> bool:
        """Whether it is run by its name, with `python -m`."""
        return self.path.name == "__main__.py" or any(
            isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" for node in self.tree.body
        )

    @property
    def layer(self) -> str:
        """The package of `engine` that it is in; the modules right beneath `engine` are one layer; so are fleet and console."""
        parts = self.name.split(".")
        return parts[0] if parts[0] != "engine" or len(parts) < 3 else ".".join(parts[:2])


def _read(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    text = path.read_text()
    return Module(name, path, text.count("\n"), ast.parse(text))


HOUSE: Final = [_read(path) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def _importers() -> dict[str, set[str]]:
    """For each module, who imports it, late imports included."""
    names = {module.name for module in HOUSE}
    found = defaultdict[str, set[str]](set)
    for module in HOUSE:
        for node in ast.walk(module.tree):
            for imported in names & set(_imported(node)):
                found[imported].add(module.name)
    return found


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(source), names=names):
            return [source, *(f"{source}.{alias.name}" for alias in names)]
        case _:
            return []


def _functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _defined(tree: ast.Module) -> Iterator[str]:
    """Classes, functions and constants."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield name


def _none(offenders: Iterable[str]) -> None:
    """Fails with a line for each."""
    assert not (lines := list(offenders)), "\n".join(["", *lines])


def test_no_file_is_too_long() -> None:
    _none(f"{module.where}: {module.lines} lines" for module in HOUSE if module.lines > MOST_LINES)


def test_no_function_is_too_long() -> None:
    _none(
        f"{module.where}: {function.name}, {length} lines"
        for module in HOUSE
        for function in _functions(module.tree)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > MOST_LINES_OF_A_FUNCTION
    )


def test_no_folder_is_too_full() -> None:
    folders = Counter(module.path.parent for module in HOUSE if not module.is_package)
    _none(f"{folder}: {count} modules" for folder, count in folders.items() if count > MOST_MODULES_OF_A_FOLDER)


def test_a_small_module_has_two_importers_or_says_why_it_is_kept_apart() -> None:
    importers = _importers()
    small = [m for m in HOUSE if m.lines < ENOUGH_LINES and not m.is_package and not m.is_program]
    _none(
        f"{module.where}: {module.lines} lines, imported by {', '.join(importers[module.name])} alone"
        for module in small
        if len(importers[module.name]) == 1 and not REASON.search(ast.get_docstring(module.tree) or "")
    )


def test_a_public_name_is_defined_once_in_its_layer() -> None:
    places = defaultdict[tuple[str, str], set[str]](set)
    for module in HOUSE:
        for name in _defined(module.tree):
            if not name.startswith("_"):
                places[module.layer, name].add(module.where)
    _none(
        f"{layer}: {name} in {' and '.join(sorted(where))}"
        for (layer, name), where in places.items()
        if len(where) > 1 and name not in {*ENTRY_POINTS, LOGGER}
    )


def test_a_command_lives_in_the_module_of_its_name_or_of_its_family() -> None:
    homes = {module_of(name) for name in ["console", *COMMANDS]}
    takers = {m.name for m in HOUSE if any(f.name == "add_arguments" for f in m.tree.body if isinstance(f, Function))}
    assert takers == homes
    assert set(FAMILIES) <= set(COMMANDS)


def test_what_comes_from_outside_is_read_at_the_door() -> None:
    _none(
        f"{module.where}:{node.lineno}: {ast.unparse(node)}; read and write with engine.core.serialization"
        for module in HOUSE
        if module.where not in DOORS
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute | ast.Name) and READS_OF_OUTSIDE.fullmatch(ast.unparse(node))
    )
    _none(
        f"{module.where}: imports of a decoder hide who reads"
        for module in HOUSE
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        and any(READS_OF_OUTSIDE.fullmatch(f"{node.module}.{alias.name}") for alias in node.names)
    )
    assert all(READS_OF_OUTSIDE.search((ROOT / door).read_text()) for door in DOORS), (
        "a door that reads nothing is none"
    )


def test_only_the_modules_named_for_it_import_ray() -> None:
    """Who imports it waits seconds and may be ended by it; import-linter knows no names that merely begin alike."""
    _none(
        f"{module.where}: imports {name}"
        for module in HOUSE
        if not module.name.startswith("fleet.ray_")
        for node in ast.walk(module.tree)
        for name in _imported(node)
        if name.split(".")[0] == "ray"
    )


def test_what_the_rules_say_of_a_module_is_true() -> None:
    """They would be kept by any house if they saw none of it."""
    assert {module.layer for module in HOUSE} >= {"engine", "engine.core", "engine.worker", "citadel_tui"}
    assert any(module.is_program for module in HOUSE)
    assert "citadel_tui.cli.act" in _importers()["engine.core.commands"]
    assert len(list(chain.from_iterable(_functions(module.tree) for module in HOUSE))) > 1000
