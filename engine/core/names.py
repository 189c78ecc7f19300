"""Names of models and devices, and which of them are admitted."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

ModelName: TypeAlias = str
DeviceId: TypeAlias = str
"""`cpu`, or `gpu0`, `gpu1`, …"""

CPU: Final[DeviceId] = "cpu"

MODEL_NAME_RULE: Final = "1 to 64 of A-Z a-z 0-9 . _ - starting with a letter or digit"
_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DEVICE_ID: Final = re.compile(r"cpu|gpu(?:0|[1-9]\d?)")


def is_model_name(text: str) -> bool:
    """Whether `text` may name a model: plain ASCII, so that no terminal or markup can misread it."""
    return _MODEL_NAME.fullmatch(text) is not None


def is_device_id(text: str) -> bool:
    """Whether `text` has the form of a device's name; whether that device exists is another question."""
    return _DEVICE_ID.fullmatch(text) is not None
