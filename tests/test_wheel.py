"""What is packed: that it works where there is no checkout, and what PyPI shows of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

from citadel_tui.cli.setup.man_page import man_page
from engine.defaults import DEFAULT_FILES, DEFAULTS_FOLDER

ROOT: Final = Path(__file__).parents[1]
PACKED: Final = (
    *("citadel", "engine", "fleet", "citadel_tui", "config", "docs"),
    *("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE", "constraints.txt"),
)
BUILD: Final = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"

ALONE: Final = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {there}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nothing())
from citadel_tui.cli.setup.man_page import man_page
man_page()
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution, built in a copy of the checkout."""
    copy, made = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("packages")
    for name in PACKED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for kind in ("build_wheel", "build_sdist"):
        program = [sys.executable, "-c", BUILD, kind, made]
        ran = subprocess.run(program, cwd=copy, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
    return made


@pytest.fixture(scope="module")
def installed(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wheel puts among a Python's packages."""
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(next(packages.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    return site


def test_the_manual_page_needs_no_package_that_the_build_does_not_ask_for() -> None:
    """Where a wheel is built there is nothing else."""
    asked_for = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    names = {re.split(r"[^\w-]", requirement)[0].lower() for requirement in asked_for}
    there = [module for module, found in packages_distributions().items() if names & {name.lower() for name in found}]
    assert {"msgspec", "rich"} <= set(there)
    program = ALONE.format(there=[*there, *sys.stdlib_module_names, "citadel_tui", "engine"])
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_wheel_has_the_public_package_the_defaults_and_the_manual_page(installed: Path) -> None:
    for path in ("citadel/py.typed", "engine/py.typed", "citadel_tui/citadel.tcss"):
        assert (installed / path).is_file()
    for name in DEFAULT_FILES:
        packed = installed / "engine" / "defaults" / name
        assert not packed.is_symlink()
        assert packed.read_bytes() == (DEFAULTS_FOLDER / name).read_bytes()
    (page,) = installed.glob("*.data/data/share/man/man1/citadel.1")
    assert page.read_text() == man_page()


def test_pypi_shows_neither_pictures_nor_links_that_it_does_not_have(installed: Path) -> None:
    (metadata,) = installed.glob("*.dist-info/METADATA")
    shown = message_from_bytes(metadata.read_bytes())
    text = str(shown.get_payload())
    assert shown["Description-Content-Type"] == "text/markdown"
    assert "# Citadel" in text
    assert "](docs/" in (ROOT / "README.md").read_text()
    assert re.findall(r"\]\((?!https?:|#)[^)]*\)", text) == []
    assert re.findall(r"!\[", text) == []


def test_the_source_distribution_has_what_a_wheel_is_made_of(packages: Path) -> None:
    with tarfile.open(next(packages.glob("*.tar.gz"))) as packed:
        files = {member.name.partition("/")[2]: member for member in packed.getmembers()}
    for path in (
        "setup.py",
        "README.md",
        "docs/architecture.md",
        *(f"engine/defaults/{name}" for name in DEFAULT_FILES),
    ):
        assert files[path].isfile(), path


def test_an_engine_starts_without_a_checkout_and_without_a_configuration(installed: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "XDG_CONFIG_HOME": str(tmp_path),
        "CUDA_VISIBLE_DEVICES": "",
    }

    def citadel(*words: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-P", "-m", "citadel_tui", *words]
        return subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    listed = citadel("models", "list")
    try:
        assert listed.returncode == 0, listed.stderr
        assert "`citadel init` writes gpu_allocation.yaml and model_gpu_mapping.json" in listed.stderr
        status = json.loads(citadel("status", "--json").stdout)
        assert status["models"] == []
        assert status["engine"]["config"] == str(installed / "engine" / "defaults")
    finally:
        assert citadel("stop").returncode == 0
