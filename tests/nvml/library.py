"""Builds the stand-in for NVIDIA's management library, and lets clients find it: this process, or one that is started."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

SONAME: Final = "libnvidia-ml.so.1"
SCRIPT_VARIABLE: Final = "CITADEL_NVML_SCRIPT"
_SOURCES: Final = sorted(Path(__file__).parent.glob("*.c"))


class NoStandIn(Exception):
    """Why there is none, in words for a skipped test."""


@cache
def built_library() -> Path:
    """The library, compiled once a process. Raises NoStandIn where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NoStandIn("no C compiler here (gcc or cc) to build the scripted NVML with")
    folder = mkdtemp(prefix="citadel-nvml-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = Path(folder) / SONAME
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{SONAME}", "-pthread"]
    subprocess.run([compiler, *flags, "-o", library, *_SOURCES], check=True)
    return library


def environment_with(script: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a process that is to find the stand-in, playing `script`."""
    folders = [str(built_library().parent), *filter(None, [environment.get("LD_LIBRARY_PATH")])]
    return {**environment, "LD_LIBRARY_PATH": os.pathsep.join(folders), SCRIPT_VARIABLE: str(script)}


@cache
def load_here() -> None:
    """Make the stand-in the one that this process finds, now and to its end: the linker hands out what bears the name already.

    Raises NoStandIn where the process holds NVIDIA's own library.
    """
    library = built_library()
    ctypes.CDLL(str(library))
    if not hasattr(ctypes.CDLL(SONAME), "script_read"):
        raise NoStandIn(f"this process has loaded NVIDIA's own {SONAME}; the scripted one can't take its place")
