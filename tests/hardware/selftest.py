"""`citadel selftest` on slices of a card: the whole program, engine and workers, on the hardware. Standard library only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

MODEL: Final = {"name": "e5-small", "source": "synthetic:e5-small", "task": "embedding"}


def run_selftest(
    folder: Path, backing: str, slice_mib: int, environment: dict[str, str], limit_s: int
) -> dict[str, Any]:
    """Its lines and whether all were good, on two slices of `backing` with an engine of its own below `folder`."""
    config = folder / "config"
    config.mkdir()
    gpu = {"backing": backing, "memory": f"{slice_mib}MiB"}
    # JSON is YAML
    (config / "gpu_allocation.yaml").write_text(json.dumps({"devices": {"virtual": [gpu, gpu]}}))
    (config / "model_gpu_mapping.json").write_text(json.dumps({"models": [MODEL]}))
    home = environment | {"CITADEL_HOME": str(folder / "home")}
    citadel = [sys.executable, "-m", "citadel_tui"]
    try:
        done = subprocess.run(
            [*citadel, "--config", str(config), "selftest"],
            cwd=folder,
            env=os.environ | home,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return {"passed": False, "lines": [f"not done within {limit_s} s"]}
    finally:
        subprocess.run([*citadel, "stop"], cwd=folder, env=os.environ | home, capture_output=True, check=False)
    lines = done.stdout.splitlines() or done.stderr.strip().splitlines()[-20:]
    return {"passed": done.returncode == 0, "lines": lines}
