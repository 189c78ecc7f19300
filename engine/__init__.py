"""The allocation engine: decides which model lives on which device, and moves the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.manager import GPUManager

__all__ = ["GPUManager"]


def __getattr__(name: str) -> object:
    """Import `GPUManager` on first use, so that `import engine.core` stays light."""
    if name == "GPUManager":
        from engine.manager import GPUManager

        return GPUManager
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
