"""Stand-ins for a torch with CUDA and for the driver's libcuda, found by the processes that a test starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.nvml.library import NoStandIn, built_library, environment_with
from tests.nvml.script import NvmlScript

_TORCH = """
import ctypes, types
__version__ = "{version}"
version = types.SimpleNamespace(cuda="{cuda}")
uint8 = None

class _Sum:
    def sum(self): return self
    def item(self): return 1024

def ones(count, device): return _Sum()
def frombuffer(memory, dtype): return types.SimpleNamespace(data_ptr=lambda: 4096)

cuda = types.SimpleNamespace(
    is_available=lambda: True,
    device_count=lambda: {cards},
    get_arch_list=lambda: {architectures!r},
    get_device_properties=lambda ordinal: types.SimpleNamespace(name="card", major=6, minor=1, total_memory=2 << 30),
    cudart=lambda: types.SimpleNamespace(cudaHostRegister=lambda *_: 0, cudaHostUnregister=lambda _: 0),
)
"""
_LIBCUDA = "int cuDriverGetVersion(int *version) { *version = 13000; return 0; }\n"


class StandIns:
    """A folder of them, and the environment in which they are found."""

    def __init__(self, folder: Path) -> None:
        self.nvml = NvmlScript(folder / "nvml.script")
        self._folder = folder

    def bring_torch(self, version: str, cuda: str, architectures: tuple[str, ...], cards: int = 1) -> None:
        package = self._folder / "torch"
        package.mkdir(exist_ok=True)
        text = _TORCH.format(version=version, cuda=cuda, architectures=list(architectures), cards=cards)
        (package / "__init__.py").write_text(text)

    def bring_libcuda(self) -> None:
        source = self._folder / "libcuda.c"
        source.write_text(_LIBCUDA)
        subprocess.run(
            [shutil.which("gcc") or "cc", "-shared", "-fPIC", "-o", self._folder / "libcuda.so.1", source], check=True
        )

    @property
    def environment(self) -> Mapping[str, str]:
        found = environment_with(self.nvml.path)
        libraries = os.pathsep.join([str(self._folder), found["LD_LIBRARY_PATH"]])
        return {**found, "LD_LIBRARY_PATH": libraries, "PYTHONPATH": str(self._folder)}


@pytest.fixture
def stand_ins(tmp_path: Path) -> StandIns:
    """Skips where no C compiler can build them."""
    try:
        built_library()
    except NoStandIn as reason:
        pytest.skip(str(reason))
    return StandIns(tmp_path)
