"""Names of models, devices and boxes, and which of them are admitted."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

ModelName: TypeAlias = str
DeviceId: TypeAlias = str
"""`cpu`, or `gpu0`, `gpu1`, …; in a fleet with the box before it: `box2/gpu0`, `box2/cpu`."""
BoxName: TypeAlias = str
"""What the operator calls a machine of a fleet; empty where there is only one."""

CPU: Final[DeviceId] = "cpu"

MODEL_NAME_RULE: Final = "1 to 64 of A-Z a-z 0-9 . _ - starting with a letter or digit"
_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BOX_NAME_RULE: Final = "1 to 32 of a-z 0-9 - starting with a letter"
_BOX_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_DEVICE_ID: Final = re.compile(r"cpu|gpu(?:0|[1-9]\d?)")


def is_model_name(text: str) -> bool:
    """Whether `text` may name a model: plain ASCII, so that no terminal or markup can misread it."""
    return _MODEL_NAME.fullmatch(text) is not None


def is_device_id(text: str) -> bool:
    """Whether `text` has the form of a device's name; whether that device exists is another question."""
    return _DEVICE_ID.fullmatch(text) is not None


def is_box_name(text: str) -> bool:
    """Whether `text` may name a box."""
    return _BOX_NAME.fullmatch(text) is not None


def on_box(box: BoxName, device: DeviceId) -> DeviceId:
    """What a fleet calls the device that `box` itself calls `device`."""
    return f"{box}/{device}"


def box_of(device: DeviceId) -> BoxName:
    """The box that a fleet's device is on; empty for a device of the only box."""
    return device.rpartition("/")[0]


def within_box(device: DeviceId) -> DeviceId:
    """What the device's own box calls it."""
    return device.rpartition("/")[2]


def is_cpu(device: DeviceId) -> bool:
    """Whether it is a box's CPU."""
    return within_box(device) == CPU
