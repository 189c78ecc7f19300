"""The JSON files of a checkpoint, which anybody may have written."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.weights.errors import BadCheckpoint

CONFIG_FILE: Final = "config.json"
_MAX_BYTES: Final = 256 << 20
"""Larger than any tokenizer's."""


def read_json_object(path: Path) -> dict[str, Any]:
    """Raises BadCheckpoint when there is no JSON object in the file, whatever else there is."""
    found = _decoded(path, Any)
    if not isinstance(found, dict):
        raise BadCheckpoint(f"{path} can't be read: there is no JSON object in it. Fetch it again")
    return found


def check_json(path: Path) -> None:
    """Raises BadCheckpoint when the file is no JSON: cut short, or a page that was saved in its place."""
    _decoded(path, msgspec.Raw)


def _decoded(path: Path, kind: Any) -> Any:  # noqa: ANN401 - msgspec's kinds share no type
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadCheckpoint(f"{path} is larger than any such file is; fetch it again")
        written = path.read_bytes()
    except OSError as error:
        raise BadCheckpoint(f"{path} can't be read: {error.strerror}") from error
    try:
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(written, type=kind)
        return json.loads(written)  # slower, and takes the Infinity and NaN that Python writes
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{path} can't be read: {error}; was it cut short? Fetch it again") from error
