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
HEADERS: Final = {
    "12": ("nvidia-cuda-runtime-cu12==12.6.77", "nvidia-cuda-nvcc-cu12==12.6.77"),
    "13": ("nvidia-cuda-runtime==13.0.96", "nvidia-cuda-crt==13.0.88"),
}
"""The packages with the headers of each CUDA that the stand-in knows."""
STRICT: Final = ("-Wall", "-Wextra", "-Werror", "-O2", "-fPIC")


def main(out: Path) -> None:
    torch_lib = Path(sysconfig.get_paths()["purelib"]) / "torch" / "lib"
    out.mkdir(parents=True, exist_ok=True)
    linked = libraries(torch_lib)
    cudart = next((library.file for library in linked if library.stem == "libcudart"), None)
    if cudart is None:
        raise Lacking("its torch is built without CUDA; let pip have the one from PyPI")
    include = _headers(out, cudart.rpartition(".")[2])
    with tempfile.TemporaryDirectory(prefix="standin-") as name:
        for library in linked:
            _build(library, out, Path(name), include)
    _compile("gcc", "-shared", NATIVE / "nvml.c", "-o", out / "libnvidia-ml.so.1")
    _compile("gcc", "-shared", f'-DCUDART="{cudart}"', NATIVE / "driver.c", "-ldl", "-o", out / "libcuda.so.1")
    _compile("gcc", NATIVE / "control.c", "-o", out / "standin-ctl")


def _headers(out: Path, cuda: str) -> list[str]:
    """The compiler's options. Not into the environment: there PyTorch would find the real runtime beside them, before ours."""
    if given := os.environ.get("CUDA_INCLUDE"):
        return [f"-isystem{given}"]
    if cuda not in HEADERS:
        raise Lacking(f"its torch is built for CUDA {cuda}; known are {' and '.join(HEADERS)}")
    folder = out / "headers"
    if not folder.is_dir():
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
        if subprocess.run([*pip, "--target", folder, *HEADERS[cuda]], check=False).returncode:
            packages = " and ".join(HEADERS[cuda])
            raise Lacking(f"pip could not install {packages}, which hold CUDA's headers; its reason is above")
    return [f"-isystem{include}" for include in sorted(folder.glob("nvidia/*/include"))]


def _build(library: Library, out: Path, folder: Path, include: list[str]) -> None:
    flags = ["-std=c++17", "-g", "-fvisibility=hidden", *include, *(["-DLT"] if library.stem == "libcublasLt" else [])]
    objects = []
    for name in SOURCES.get(library.stem, []):
        objects.append(folder / f"{library.stem}-{name}.o")
        _compile("g++", "-c", *flags, NATIVE / f"{name}.cpp", "-o", objects[-1])
    rest, script = folder / f"{library.stem}.c", folder / f"{library.stem}.map"
    rest.write_text(rest_of(library, objects))
    script.write_text(library.script)
    _compile("gcc", "-c", rest, "-o", rest.with_suffix(".o"))
    linker = ["-pthread", "-ldl", f"-Wl,-soname,{library.file},--version-script={script}"]
    _compile("g++", "-shared", *objects, rest.with_suffix(".o"), *linker, "-o", out / library.file)


def _compile(compiler: str, *arguments: str | Path) -> None:
    subprocess.run([compiler, *STRICT, "-pthread", *map(str, arguments)], check=True)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Lacking as error:
        raise SystemExit(f"standin: {error}") from None
