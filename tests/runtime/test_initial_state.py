"""What a starting engine makes of the prepared folders that it finds, and of earlier runs and measurements."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

from engine.core.commands import Load
from engine.core.models import ModelSpec, Pin
from engine.core.records import Record, Residency
from engine.core.sizes import GIB
from engine.recording.copy_rates import Circumstances, CopyRates, keep_rates
from engine.recording.residency import KeptResidency
from engine.runtime.initial_state import Start, initial_state, residency_before, with_copy_rates, with_pins, with_rates
from engine.settings import Settings, device_specs, load_settings
from engine.weights.layout import LAYOUT_FILE, TensorFacts, place
from engine.weights.slab import Prepared, SlabContents, write_prepared
from engine.weights.sources import prepared_folder, resolve
from tests.core.boxes import box, with_pin, with_resident, with_slab
from tests.runtime.live_engines import CONFIG
from tests.scheduler.scripted_world import World
from tests.settings.config_files import config_folder, seen_first
from tests.settings.nvidia_cards import A

MODEL = "all-MiniLM-L6-v2"


def settings() -> Settings:
    return load_settings(CONFIG, {}, None)


def started(cache: Path) -> Start:
    return initial_state(settings(), device_specs(settings(), 64 * GIB), cache, 2 * GIB)


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


def test_a_model_whose_dtype_its_cards_are_too_old_for_is_known_with_the_reason(tmp_path: Path) -> None:
    model = {"name": "m", "source": "synthetic:e5-small", "task": "embedding", "dtype": "nf4"}
    good = {"name": "other", "source": "synthetic:e5-small", "task": "embedding", "dtype": "int8"}
    old = load_settings(
        config_folder(tmp_path, "", model, good), {}, None, seen_first((replace(A, capability=(5, 2)),))
    )
    start = initial_state(old, device_specs(old, 64 * GIB), tmp_path, 2 * GIB)
    assert "takes a card of compute capability 6.0" in start.state.models["m"].trouble
    assert start.state.models["m"].trouble in start.warnings
    assert list(start.sources) == ["other"]
    assert not start.state.models["other"].trouble


# ── what earlier runs and measurements have left ──────────────────────────────────────────────


def test_the_file_says_who_was_resident_and_before_there_was_one_the_journal() -> None:
    older, newer = Residency(1.0, (("a", "gpu0"),), {}), Residency(2.0, (), {"a": None})
    journal = [Record(1, older), Record(2, newer)]

    assert residency_before(KeptResidency(None, is_there=False), journal) == newer
    assert residency_before(KeptResidency(None, is_there=False), []) is None
    assert residency_before(KeptResidency(older, is_there=True), journal) == older
    assert residency_before(KeptResidency(None, is_there=True, warning="damaged"), journal) is None


def test_pins_of_the_last_run_replace_the_catalogs_where_their_devices_still_exist() -> None:
    state = with_pin(box({"a": 10, "b": 10, "c": 10}), "c")
    restored = with_pins(state, Residency(1.0, (), {"a": "gpu1", "b": "gpu7"}))

    assert [restored.models[name].pin for name in "abc"] == [Pin("gpu1"), None, None]


def test_recorded_switches_teach_what_they_taught_when_they_happened() -> None:
    before = with_slab(with_resident(box({"a": 100, "b": 60}, {"gpu0": 140}), "b", "gpu0"), "b")
    world = World(before)
    world.submit(Load("a"))
    world.settle()
    recorded = [Record(number, entry) for number, entry in enumerate(world.written)]
    taught = with_rates(before, recorded)

    for name, known in taught.devices.items():
        live = world.state.devices[name]
        assert (known.rates, known.binding, known.first_binding) == (live.rates, live.binding, live.first_binding)
        assert (known.evicting, known.copy_bytes_per_s) == (live.evicting, live.copy_bytes_per_s)
        assert known.warmed == (), "its worker is a new one"
    assert (taught.disk, taught.source) == (world.state.disk, world.state.source)
    assert taught.disk != before.disk
    assert taught.disk_bytes_per_s == world.state.disk_bytes_per_s
    assert taught.disk_bytes_per_s is not None


def test_copy_rates_that_were_measured_for_the_card_are_used_and_others_are_not(tmp_path: Path) -> None:
    state = box({"a": 100})
    rates = CopyRates(1 << 20, 12e9, 4e9, 12e9, 4e9)
    keep_rates(tmp_path, Circumstances("GPU-1", "580", version("torch")), rates, 0.0)

    known = with_copy_rates(state, {"gpu0": "GPU-1"}, "580", tmp_path)
    updated_driver = with_copy_rates(state, {"gpu0": "GPU-1"}, "590", tmp_path)

    assert known.devices["gpu0"].copy_bytes_per_s == 12e9
    assert known.devices["gpu0"].rates.guess_bytes_per_s == 12e9
    assert updated_driver == state
