"""What a starting engine makes of the prepared folders that it finds."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from engine.core.models import ModelSpec
from engine.core.sizes import GIB
from engine.runtime.initial_state import Start, initial_state
from engine.settings import Settings, device_specs, load_settings
from engine.weights.layout import LAYOUT_FILE, TensorFacts, place
from engine.weights.slab import Prepared, SlabContents, write_prepared
from engine.weights.sources import prepared_folder, resolve
from tests.runtime.scripted_engine import CONFIG

MODEL = "all-MiniLM-L6-v2"


def settings() -> Settings:
    return load_settings(CONFIG, {}, None, ())


def started(cache: Path) -> Start:
    return initial_state(settings(), device_specs(settings(), 64 * GIB), cache)


def prepared(cache: Path) -> Prepared:
    """A folder of the model's name, small and whole."""
    spec: ModelSpec = next(model for model in settings().models if model.name == MODEL)
    source = resolve(spec, cache)
    values = np.zeros(64, dtype=np.float32)
    contents = SlabContents(
        "BertModel", source.text, place([TensorFacts("a", "parameter", "F32", (64,), (1,), 256)]), ()
    )
    folder = prepared_folder(spec, source, cache)
    return write_prepared(folder, source.folder, contents, lambda _: memoryview(values.tobytes()), lambda _: None)


def test_a_model_that_was_never_prepared_is_no_reason_for_a_warning(tmp_path: Path) -> None:
    start = started(tmp_path)
    assert not start.state.models[MODEL].prepared
    assert not any("citadel prepare" in warning for warning in start.warnings)


def test_a_whole_folder_is_used(tmp_path: Path) -> None:
    prepared(tmp_path)
    assert started(tmp_path).state.models[MODEL].prepared


def test_a_folder_of_an_earlier_format_is_told_of_with_what_to_do(tmp_path: Path) -> None:
    layout = prepared(tmp_path).folder / LAYOUT_FILE
    fields = msgspec.json.decode(layout.read_bytes())
    layout.write_bytes(msgspec.json.encode(fields | {"format_version": 1}))
    start = started(tmp_path)
    assert not start.state.models[MODEL].prepared
    [warning] = [warning for warning in start.warnings if "format 1" in warning]
    assert f"prepare it again: `citadel prepare {MODEL}` does it now" in warning
