"""What PyTorch's libraries import of NVIDIA's, and C source that defines what the stand-in does not do itself.

Each such function says its name once and that it is not supported. Of the CUDA runtime it is known which those are: a PyTorch
that imports another one is newer than the stand-in, and that is said by name.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from msgspec import Struct

PREFIXES: Final = {
    "nccl": "libnccl.so.2",
    "cusparseLt": "libcusparseLt.so.0",
    "curand": "libcurand.so.10",
    "cuFile": "libcufile.so.0",
    "nvshmem": "libnvshmem_host.so.3",
    "nvrtc": "libnvrtc.so.13",
}
"""Of libraries that give their symbols no version."""
NOT_SUPPORTED: Final = {
    "libcudart": 801,
    "libcublas": 15,
    "libcublasLt": 15,
    "libcudnn": 3000,
    "libcufft": 16,
    "libcusparse": 10,
    "libcusolver": 9,
    "libnccl": 5,
    "libcusparseLt": 10,
    "libcufile": 5001,
    "libnvrtc": 11,
    "libnvshmem_host": 1,
    "libcupti": 27,
    "libcurand": 1,
}
"""How each library says that it does not support something."""
VERSIONS: Final = {"cudnnGetVersion": 92400, "cudnnGetCudartVersion": 13000, "cublasLtGetVersion": 130101}
LEFT_OUT: Final = re.compile(
    "cuda(Graph|Ipc|UserObject|Library|MemPool|MallocAsync|FreeAsync|DeviceGetDefaultMemPool|Device[GS]etGraphMem"
    "|GetSymbolAddress|MemcpyToSymbol|KernelSetAttribute|Stream(Begin|End|Update)Capture)"
)
"""Of the runtime: graphs, memory between processes, pools, symbols, and libraries of kernels that are loaded later."""
_LIBRARY: Final = re.compile(r"\[(lib(?:cu|nv|nccl)[\w]*\.so[.\d]*)\]")
_TEXT: Final = re.compile(r"Get(Last)?Error(String|Name)?$|GetLastErrorString")


class Lacking(Exception):
    """PyTorch asks for something that the stand-in does not have; the text names it."""


class Library(Struct, frozen=True):
    """One of NVIDIA's libraries, as PyTorch's link it."""

    file: str
    version: str
    """Of its symbols."""
    symbols: frozenset[str]

    @property
    def stem(self) -> str:
        """The name without its version."""
        return self.file.partition(".so")[0]

    @property
    def script(self) -> str:
        """The linker's version script for it."""
        return f"{self.version} {{ global: *; }};\n"


def libraries(torch_lib: Path) -> list[Library]:
    """What the libraries in the folder import, the driver's own apart."""
    wanted: dict[str, set[str]] = {}
    versions: dict[str, str] = {}
    unversioned: set[str] = set()
    for path in sorted(torch_lib.glob("lib*.so")):
        needed = _LIBRARY.findall(_run("readelf", "-d", str(path)))
        for file in needed:
            wanted.setdefault(file, set())
        asked = re.findall(r"File: (\S+) .*\n.*Name: (\S+)", _run("readelf", "-VW", str(path)))
        owners = {version: file for file, version in asked if file in needed}
        versions |= {file: version for version, file in owners.items()}
        for line in _run("nm", "-D", "--undefined-only", str(path)).splitlines():
            symbol, _, version = line.split()[-1].partition("@")
            if version in owners:
                wanted[owners[version]].add(symbol)
            elif not version:
                unversioned.add(symbol)
    for prefix, file in PREFIXES.items():
        ours = re.compile(rf"{prefix}(?:[A-Z_x]|id)")
        if symbols := {symbol for symbol in unversioned if ours.match(symbol)}:
            linked = next((name for name in wanted if name.partition(".so")[0] == file.partition(".so")[0]), file)
            wanted.setdefault(linked, set()).update(symbols)
    wanted.pop("libcuda.so.1", None)
    if unknown := sorted(file for file in wanted if file.partition(".so")[0] not in NOT_SUPPORTED):
        raise Lacking(f"it links {', '.join(unknown)}, which the stand-in does not know")
    return [Library(file, versions.get(file, file), frozenset(symbols)) for file, symbols in wanted.items()]


def rest_of(library: Library, objects: list[Path]) -> str:
    """C source of the symbols that none of `objects` defines. Raises Lacking for one that the stand-in ought to have."""
    defined = [line.split()[-1] for done in objects for line in _run("nm", "--defined-only", str(done)).splitlines()]
    rest = sorted(library.symbols.difference(defined))
    if library.stem == "libcudart" and (new := [symbol for symbol in rest if not LEFT_OUT.match(symbol)]):
        raise Lacking(f"it asks the CUDA runtime for {', '.join(new)}, which the stand-in lacks")
    lines = ["#include <stdio.h>", *map(_declared, rest)]
    lines += [
        "static void once(int *said, const char *name) {",
        '    if (!(*said)++) fprintf(stderr, "stand-in: %s is not supported\\n", name);',
        "}",
        *(_defined(symbol, NOT_SUPPORTED[library.stem]) for symbol in rest),
        "void (*const standin_unused)(int *, const char *) = once;",
    ]
    return "\n".join(lines) + "\n"


def _declared(symbol: str) -> str:
    return f"const char *{symbol}(void);" if _TEXT.search(symbol) else f"long {symbol}(void);"


def _defined(symbol: str, code: int) -> str:
    if symbol in VERSIONS:
        return f"long {symbol}(void) {{ return {VERSIONS[symbol]}; }}"
    if _TEXT.search(symbol):
        return f'const char *{symbol}(void) {{ return "not supported by the stand-in"; }}'
    return f'long {symbol}(void) {{ static int said; once(&said, "{symbol}"); return {code}; }}'


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
