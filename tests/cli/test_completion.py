"""`citadel completion`, tried in the shells that are here, and the manual page: both are made of the commands' own parser."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from citadel_tui.cli.parser import COMMANDS, commands_of, whole_parser
from citadel_tui.cli.setup.man_page import man_page
from tests.cli.conftest import Citadel
from tests.scripted_engine import ScriptedEngine

pytest.importorskip("shtab", reason="shtab, on which the program depends, is not installed; `make` installs it")

BASH = """
{script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_citadel
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that scripts call by its name."""
    command = tmp_path / "citadel"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m citadel_tui "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


async def completed(script: str, words: str) -> list[str]:
    """What bash offers for the last of the words."""
    program = BASH.format(script=script, words=words)
    ran = await asyncio.create_subprocess_exec("bash", "-c", program, stdout=subprocess.PIPE)
    out, _ = await ran.communicate()
    return out.decode().split()


@pytest.mark.usefixtures("on_path")
async def test_bash_completes_commands_options_models_and_devices(citadel: Citadel, engine: ScriptedEngine) -> None:
    script = (await citadel("completion", "bash")).out
    assert await completed(script, "citadel stat") == ["status"]
    assert await completed(script, "citadel status --j") == ["--json"]
    assert await completed(script, "citadel load b") == ["bge-base"]
    assert await completed(script, "citadel load bge-base --on g") == ["gpu0", "gpu1"]
    assert await completed(script, "citadel plan move bge-base c") == ["cpu"]
    assert await completed(script, "citadel drain gpu") == ["gpu0", "gpu1"]
    assert not engine.submissions


@pytest.mark.usefixtures("on_path", "engine")
async def test_fish_completes_the_same(citadel: Citadel, tmp_path: Path) -> None:
    if (fish := shutil.which("fish")) is None:
        pytest.skip("there is no fish here")
    script = tmp_path / "script.fish"
    script.write_text((await citadel("completion", "fish")).out)
    asked = ("citadel stat", "citadel load b", "citadel load bge-base --on gpu")
    program = f"source {script}; " + "; ".join(f'complete -C "{line}"' for line in asked)
    ran = await asyncio.create_subprocess_exec(fish, "-N", "-c", program, stdout=subprocess.PIPE)
    out, _ = await ran.communicate()
    offered = [line.partition("\t")[0] for line in out.decode().splitlines()]
    assert offered == ["status", "bge-base", "gpu0", "gpu1"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_every_command_and_option_is_in_the_script_of_every_shell(citadel: Citadel, shell: str) -> None:
    script = (await citadel("completion", shell)).out
    for name, command in commands_of(whole_parser()).items():
        assert name in script
        for action in command._actions:
            assert all(option.lstrip("-") in script for option in action.option_strings)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_a_shell_that_is_here_reads_its_script(citadel: Citadel, shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    script = tmp_path / "script"
    script.write_text((await citadel("completion", shell)).out)
    reading = await asyncio.create_subprocess_exec(shell, "-n", script)
    assert await reading.wait() == 0


async def test_names_come_from_the_configuration_where_no_engine_runs(
    citadel: Citadel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert (await citadel("completion", "models")).out.split() == []
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "gpu_allocation.yaml").touch()
    entry = '{"name": "mine", "source": "hub:owner/mine", "task": "embedding"}'
    (tmp_path / "config" / "model_gpu_mapping.json").write_text(f'{{"models": [{entry}]}}')
    assert (await citadel("completion", "models")).out.split() == ["mine"]
    assert (await citadel("completion", "devices")).out.split() == ["cpu"]
    (tmp_path / "config" / "model_gpu_mapping.json").write_text("broken")
    ran = await citadel("completion", "models")
    assert (ran.status, ran.out.split(), ran.err) == (0, [], "")


def test_the_manual_page_has_every_command_with_its_options() -> None:
    page = man_page().replace("\\-", "-")
    for name, command in commands_of(whole_parser()).items():
        section = re.search(rf'\.SS "citadel {name}"\n(.*?)(?=\n\.SS|\n\.SH)', page, re.DOTALL)
        assert section, name
        assert COMMANDS[name] in section[1]
        options = {option for action in command._actions for option in action.option_strings}
        assert all(option in section[1] for option in options - {"-h", "--help", "--config"})
    assert '.SS "citadel keys add"' in page


def test_the_formatter_has_no_complaint_about_the_manual_page(tmp_path: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("there is no groff here")
    (tmp_path / "citadel.1").write_text(man_page())
    ran = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", tmp_path / "citadel.1"], capture_output=True, text=True, check=True
    )
    assert ran.stderr == ""
