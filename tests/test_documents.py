"""What the documents say of files, modules and keys is so."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from shlex import join, split
from typing import Final

import pytest

from citadel_tui.actions import ACTIONS
from citadel_tui.cli.parser import parse

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "engine").rglob("*.md")),
]
ROOMS: Final = (ROOT, ROOT / "engine", ROOT / "citadel_tui")
"""Where a path may start: a document on the engine says `core/ledger.py` for `engine/core/ledger.py`. The page of a room may
start there too."""

WORDS_A_MINUTE: Final = 240
CODE: Final = re.compile(r"`([^`\n]+)`")
LINK: Final = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")
TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PATH: Final = re.compile(r"(?:[\w.-]+/)+[\w.-]*|[\w-]+\.py")
DOTTED: Final = re.compile(r"(?:python -m )?([a-z_]+(?:\.\w+)+)(?:\(.*)?")


def _paths(text: str) -> list[str]:
    """Those in `text` that start in one of the rooms; `.cache/…` and the like are elsewhere."""
    found = [code.rstrip("/") for code in CODE.findall(text) if PATH.fullmatch(code)]
    return [
        path for path in found if path.endswith(".py") or any((room / path.split("/")[0]).is_dir() for room in ROOMS)
    ]


def _modules(text: str) -> list[str]:
    """Dotted names that start in one of the rooms: `engine.core.ledger`, `python -m benchmarks.console`."""
    found = [match[1] for code in CODE.findall(text) if (match := DOTTED.fullmatch(code)) and not PATH.fullmatch(code)]
    return [
        name
        for name in found
        if not name.endswith((".json", ".sock", ".yaml"))
        and any((room / name.split(".")[0]).is_dir() for room in ROOMS)
    ]


def _is_there(name: str) -> bool:
    """Whether the dotted name is a package or module, or something that its module says."""
    for place in ROOMS:
        parts = name.split(".")
        while parts and (place / parts[0]).is_dir():
            place /= parts.pop(0)
        if not parts:
            return True
        module = place / f"{parts[0]}.py"
        if module.is_file():
            parts.pop(0)
        else:
            module = place / "__init__.py"
        if module.is_file() and all(re.search(rf"\b{part}\b", module.read_text()) for part in parts):
            return True
    return False


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text()
    linked = [target for target in LINK.findall(text) if not (document.parent / target).exists()]
    named = [path for path in _paths(text) if not any((room / path).exists() for room in (*ROOMS, document.parent))]
    assert sorted({*linked, *named}) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_that_a_document_names_is_there(document: Path) -> None:
    assert sorted({name for name in _modules(document.read_text()) if not _is_there(name)}) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_a_document_names_is_there(document: Path) -> None:
    named = TEST.findall(document.read_text())
    assert [(path, name) for path, name in named if f"def {name}(" not in (ROOT / path).read_text()] == []


def test_paths_and_modules_are_told_from_other_words() -> None:
    text = "`engine/api.py`, `core/ledger.py`, `driver.py`, `/tmp`, `a/b`; `engine.core.ledger`, `policy.eviction`, `config.json`"
    text += ", `python -m engine.service`"
    assert _paths(text) == ["engine/api.py", "core/ledger.py", "driver.py"]
    assert _modules(text) == ["engine.core.ledger", "engine.service"]
    assert _is_there("core.ledger.budget")
    assert not _is_there("engine.core.nothing")


def _commands(text: str) -> list[str]:
    """What follows `citadel` where a document shows what to type, up to where the shell sends it."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    typed = [split(line, comments=True) for block in blocks for line in block.splitlines()]
    typed = [list(takewhile(lambda word: word not in (">", "|"), words)) for words in typed]
    return [join(words[1:]) for words in typed if words and words[0].removeprefix(".venv/bin/") == "citadel"]


@pytest.mark.parametrize(
    ("document", "typed"),
    [(path.name, typed) for path in DOCUMENTS for typed in dict.fromkeys(_commands(path.read_text()))],
)
def test_every_command_that_a_document_shows_is_one(document: str, typed: str) -> None:
    parse(split(typed))


def test_the_readme_is_read_in_three_minutes() -> None:
    prose = re.sub(r"^```.*?^```", "", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(prose.split()) <= 3 * WORDS_A_MINUTE


def test_the_key_table_is_the_action_registry() -> None:
    rows = [f"| `{action.key_text}` | {action.word}: {action.help} |" for action in ACTIONS]
    table = (
        (ROOT / "docs/console.md")
        .read_text()
        .split("<!-- keys: from the action registry -->")[1]
        .split("<!-- /keys -->")[0]
    )

    assert table.strip().splitlines() == ["| key | does |", "|---|---|", *rows]
