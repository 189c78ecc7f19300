"""`make gpu-check`: the tests that need a card, the contracts on slices of it, `citadel selftest` on slices and the switching
benchmark, in one command.

For a machine with a CUDA device and a plain Python 3.11 or newer that has torch, transformers and safetensors. No network:
what else is missing comes from a folder of wheels (`--wheels FOLDER`). Writes one JSON and one Markdown file. This program
itself needs the standard library only, so that it can say what is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.hardware.result import markdown, outcomes  # noqa: E402 - found by the line above
from tests.hardware.selftest import run_selftest  # noqa: E402

GIVEN: Final = ("torch", "transformers", "safetensors", "numpy", "tokenizers")
"""What the machine has to have."""
BROUGHT: Final = {
    "aiofiles": "aiofiles",
    "aiohappyeyeballs": "aiohappyeyeballs",
    "aiohttp": "aiohttp",
    "aiosignal": "aiosignal",
    "attr": "attrs",
    "frozenlist": "frozenlist",
    "idna": "idna",
    "msgspec": "msgspec",
    "multidict": "multidict",
    "propcache": "propcache",
    "pynvml": "nvidia-ml-py",
    "yaml": "pyyaml",
    "yarl": "yarl",
    "pytest": "pytest",
    "pytest_asyncio": "pytest-asyncio",
    "pytest_timeout": "pytest-timeout",
    "iniconfig": "iniconfig",
    "packaging": "packaging",
    "pluggy": "pluggy",
    "pygments": "pygments",
    "typing_extensions": "typing-extensions",
}
"""What wheels can bring: by module, the name of its wheel."""
TESTS: Final = ("tests/hardware", "tests/worker/test_backings.py")
TESTS_LIMIT_S: Final = 220
SELFTEST_LIMIT_S: Final = 120
BENCHMARK_LIMIT_S: Final = 120

LOOK_AT_CARD: Final = """
import json, torch
if not torch.cuda.is_available():
    built = "is built without CUDA" if torch.version.cuda is None else f"finds none (it is built for CUDA {torch.version.cuda})"
    raise SystemExit(f"no CUDA device is here: torch {torch.__version__} {built}")
import transformers
card = torch.cuda.get_device_properties(0)
print(json.dumps({
    "name": card.name, "memory_bytes": card.total_memory, "capability": f"{card.major}.{card.minor}",
    "torch": torch.__version__, "cuda": torch.version.cuda, "transformers": transformers.__version__,
}))
"""


class NotPossible(Exception):
    """The check can't run on this machine; the text says why and what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make gpu-check", description=__doc__, allow_abbrev=False)
    parser.add_argument("--wheels", type=Path, help="a folder of wheels to take missing packages from")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results", help="where the results go")
    parser.add_argument("--patience", type=int, default=1, help="how many times longer than usual each part may take")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="citadel-gpu-check-") as name:
        folder = Path(name)
        try:
            result = _check(folder, arguments.wheels, arguments.patience)
        except NotPossible as error:
            sys.stderr.write(f"gpu-check: {error}\n")
            return 2
    path = _write(result, arguments.out)
    sys.stdout.write(f"{markdown(result)}\nwritten to {path}.md and {path.name}.json\n")
    return 0 if result["passed"] else 1


def _check(folder: Path, wheels: Path | None, patience: int) -> dict[str, Any]:
    if absent := [name for name in GIVEN if not _is_there(name)]:
        raise NotPossible(
            f"no CUDA device can be looked for: {sys.executable} lacks {', '.join(absent)}. Name a Python that has them:"
            " make gpu-check GPU_PYTHON=/path/to/python3"
        )
    card = _card()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(_bring(folder / "site", wheels))))}
    begun_s = time.monotonic()
    tests = _run_tests(folder / "tests.xml", environment, patience * TESTS_LIMIT_S)
    slice_mib = _slice_mib(card["memory_bytes"])
    selftest = run_selftest(folder, "cuda:0", slice_mib, environment, patience * SELFTEST_LIMIT_S)
    benchmark = _run_benchmark(folder, environment, patience * BENCHMARK_LIMIT_S)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "card": card,
        "driver": _driver(),
        "python": platform.python_version(),
        "tests": tests,
        "selftest": selftest,
        "benchmark": benchmark,
        "seconds": round(time.monotonic() - begun_s, 1),
        "passed": tests["passed"] > 0 and not tests["failures"] and selftest["passed"] and "error" not in benchmark,
    }


def _slice_mib(card_bytes: int) -> int:
    """Two of these fit on the card beside two contexts; the reference box's 6 GiB where there is so much."""
    return min(6 << 10, int(card_bytes * 0.4) >> 20)


def _is_there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _card() -> dict[str, Any]:
    looked = subprocess.run([sys.executable, "-c", LOOK_AT_CARD], capture_output=True, text=True, check=False)
    if looked.returncode:
        raise NotPossible(looked.stderr.strip().splitlines()[-1])
    card: dict[str, Any] = json.loads(looked.stdout)
    return card


def _driver() -> str | None:
    """What nvidia-smi says of it; None where there is no nvidia-smi."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


def _bring(site: Path, wheels: Path | None) -> Path:
    """A folder with the packages that this Python lacks, from the wheels."""
    missing = [wheel for module, wheel in BROUGHT.items() if not _is_there(module)]
    if not missing:
        return site
    if wheels is None:
        raise NotPossible(
            f"{sys.executable} lacks {', '.join(missing)}. Where there is a network: pip download --only-binary=:all: -d"
            f" wheels {' '.join(missing)}; then here: make gpu-check WHEELS=wheels"
        )
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", str(site)]
    brought = subprocess.run([*pip, "--find-links", str(wheels), *missing], capture_output=True, text=True, check=False)
    if brought.returncode:
        raise NotPossible(f"{wheels} does not hold {', '.join(missing)} for this Python:\n{brought.stderr.strip()}")
    return site


def _run_tests(report: Path, environment: dict[str, str], limit_s: int) -> dict[str, Any]:
    # other versions of the libraries than those we test with may warn of what ours don't
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default", f"--junitxml={report}"]
    command = [sys.executable, "-m", "pytest", *TESTS, *options]
    try:
        subprocess.run(command, cwd=ROOT, env=environment, check=False, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return {"passed": 0, "skipped": [], "failures": [f"not done within {limit_s} s"], "figures": {}}
    return outcomes(report)


def _run_benchmark(folder: Path, environment: dict[str, str], limit_s: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.hardware.switching", str(folder)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done within {limit_s} s"}
    if done.returncode:
        return {"error": done.stderr.strip()[-2000:]}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _write(result: dict[str, Any], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    card = re.sub(r"[^a-z0-9]+", "-", result["card"]["name"].lower()).strip("-")
    path = folder / f"gpu-check-{card}-{result['at'][:10]}"
    path.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    path.with_suffix(".md").write_text(markdown(result))
    return path


if __name__ == "__main__":
    raise SystemExit(main())
