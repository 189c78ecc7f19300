"""The JSON files of a checkpoint, which anybody may have written."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.core.serialization import Undecodable, from_json
from engine.weights.errors import BadCheckpoint
from engine.whole_file import read_whole

CONFIG_FILE: Final = "config.json"
MOST_JSON_BYTES: Final = 256 << 20
"""Larger than any tokenizer's."""
_LONGEST_NAME_BYTES: Final = 255
"""Of a file, on any file system; to ask after a longer one is an error of its own."""
_MOST_PARTS: Final = 8


def read_json_object(path: Path) -> dict[str, Any]:
    """Raises BadCheckpoint when there is no JSON object in the file, whatever else there is."""
    found = _decoded(path, Any)
    if not isinstance(found, dict):
        raise BadCheckpoint(f"{path} can't be read: there is no JSON object in it. Fetch it again")
    return found


def lies_within(name: str) -> bool:
    """Whether a path that a file of a checkpoint names leads to something in the checkpoint, and could be there at all."""
    parts = Path(name).parts
    too_long = (
        any(len(part.encode(errors="replace")) > _LONGEST_NAME_BYTES for part in parts) or len(parts) > _MOST_PARTS
    )
    return not (Path(name).is_absolute() or ".." in parts or "\0" in name or too_long)


def check_json(path: Path) -> None:
    """Raises BadCheckpoint when the file is no JSON: cut short, or a page that was saved in its place."""
    _decoded(path, msgspec.Raw)


def _decoded(path: Path, kind: Any) -> Any:  # noqa: ANN401 - msgspec's kinds share no type
    try:
        written = read_whole(path, MOST_JSON_BYTES)
    except OSError as error:
        raise BadCheckpoint(f"{path} can't be read: {error.strerror}; fetch it again") from error
    try:
        with suppress(Undecodable):
            return from_json(written, kind)
        return json.loads(written)  # slower, and takes the Infinity and NaN that Python writes
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{path} can't be read: {error}; was it cut short? Fetch it again") from error
