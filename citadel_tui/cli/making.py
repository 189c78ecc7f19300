"""`citadel models make`: synthetic models, written by a process of their own, since that one needs torch."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from citadel_tui.cli.exits import Exit
from citadel_tui.cli.session import our_paths
from citadel_tui.cli.streams import tell
from engine.paths import make_folders


def run(arguments: Namespace) -> int:
    kinds = arguments.kinds or _kinds_of_catalog(arguments.config)
    if not kinds:
        tell("no model of the catalog has a synthetic source; name a kind")
        return Exit.FAILED
    paths = our_paths()
    make_folders(paths)
    tell(f"making {', '.join(kinds)} in {paths.cache} …")
    program = [sys.executable, "-P", "-m", "engine.worker.synthetic", str(paths.cache), *kinds]
    return subprocess.run(program, check=False).returncode


def _kinds_of_catalog(config: Path | None) -> list[str]:
    from engine.settings import find_config_folder, find_dotenv, load_settings

    folder = find_config_folder(config, os.environ, Path.cwd())
    # Only the catalog is wanted: which cards there are need not be known for it.
    settings = load_settings(folder, {**os.environ, "CUDA_ENABLED": "false"}, find_dotenv(folder, Path.cwd()))
    sources = [source for model in settings.models for source in model.sources]
    return [source.removeprefix("synthetic:") for source in sources if source.startswith("synthetic:")]
