"""Build the stand-in's libraries for the CUDA build of PyTorch that this Python has: `python tests/standin/build.py FOLDER`.

Needs a C++ compiler and binutils. CUDA's headers come from NVIDIA's own packages, or from CUDA_INCLUDE where that is set.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from tests.standin.linked import Lacking, Library, libraries, rest_of  # noqa: E402 - found by the line above

NATIVE: Final = HERE / "native"
SOURCES: Final = {
    "libcudart": ["context", "streams", "card_memory", "copies", "locked_pages", "devices", "kernels"],
    "libcublas": ["cublas"],
    "libcublasLt": ["cublas"],
}
HEADERS: Final = ("nvidia-cuda-runtime==13.0.96", "nvidia-cuda-crt==13.0.88")
STRICT: Final = ("-Wall", "-Wextra", "-Werror", "-O2", "-fPIC")


def main(out: Path) -> None:
    torch_lib = Path(sysconfig.get_paths()["purelib"]) / "torch" / "lib"
    out.mkdir(parents=True, exist_ok=True)
    include = _headers(out)
    linked = libraries(torch_lib)
    if not any(library.stem == "libcudart" for library in linked):
        raise Lacking("its torch is built without CUDA; let pip have the one from PyPI")
    with tempfile.TemporaryDirectory(prefix="standin-") as name:
        for library in linked:
            _build(library, out, Path(name), include)
    cudart = next(library.file for library in linked if library.stem == "libcudart")
    _compile("gcc", "-shared", NATIVE / "nvml.c", "-o", out / "libnvidia-ml.so.1")
    _compile("gcc", "-shared", f'-DCUDART="{cudart}"', NATIVE / "driver.c", "-ldl", "-o", out / "libcuda.so.1")
    _compile("gcc", NATIVE / "control.c", "-o", out / "standin-ctl")


def _headers(out: Path) -> Path:
    """Not into the environment: there PyTorch would find the real runtime beside them, before ours."""
    if given := os.environ.get("CUDA_INCLUDE"):
        return Path(given)
    folder = out / "headers"
    if not folder.is_dir():
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
        if subprocess.run([*pip, "--target", folder, *HEADERS], check=False).returncode:
            raise Lacking(
                f"pip could not install {' and '.join(HEADERS)}, which hold CUDA's headers; its reason is above"
            )
    return folder / "nvidia" / "cu13" / "include"


def _build(library: Library, out: Path, folder: Path, include: Path) -> None:
    sources = [NATIVE / f"{name}.cpp" for name in SOURCES.get(library.stem, [])]
    rest, script = folder / f"{library.stem}.c", folder / f"{library.stem}.map"
    rest.write_text(rest_of(library, sources))
    script.write_text(library.script)
    _compile("gcc", "-c", rest, "-o", rest.with_suffix(".o"))
    flags = ["-std=c++17", "-g", "-shared", "-fvisibility=hidden", f"-isystem{include}"]
    if library.stem == "libcublasLt":
        flags.append("-DLT")
    linker = ["-pthread", "-ldl", f"-Wl,-soname,{library.file},--version-script={script}"]
    _compile("g++", *flags, *sources, rest.with_suffix(".o"), *linker, "-o", out / library.file)


def _compile(compiler: str, *arguments: str | Path) -> None:
    subprocess.run([compiler, *STRICT, "-pthread", *map(str, arguments)], check=True)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Lacking as error:
        raise SystemExit(f"standin: {error}") from None
