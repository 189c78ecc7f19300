"""`citadel models make`: synthetic models, written by a process of their own, since that one needs torch."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from citadel_tui.cli.catalog import models_of_catalog
from citadel_tui.cli.engine import our_paths
from citadel_tui.cli.entry import Exit
from citadel_tui.cli.output import tell
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
    sources = [source for model in models_of_catalog(config) for source in model.sources]
    return [source.removeprefix("synthetic:") for source in sources if source.startswith("synthetic:")]
