"""From settings to devices, and whether the catalog fits them."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from engine.core.devices import DeviceSpec
from engine.core.models import Dtype, Footprint, ModelSpec, Pin
from engine.core.sizes import GIB, MIB
from engine.devices.cards import GpuFacts
from engine.settings import SettingsError, TooOld, check_fit, device_specs, load_settings, ram_tier_bytes, too_old
from engine.settings.fit import OWN_BYTES
from tests.settings.config_files import config_folder, seen_first
from tests.settings.nvidia_cards import A, card

GPU0 = DeviceSpec("gpu0", "virtual GPU in host RAM", "gpu", "ram", 1000 * MIB, 0.8)
GPU1 = DeviceSpec("gpu1", "virtual GPU in host RAM", "gpu", "ram", 500 * MIB, 0.8)
HOST = DeviceSpec("cpu", "CPU", "cpu", "host", 2000 * MIB, 1.0)


def footprint(total_mib: int) -> Footprint:
    return Footprint(weights_bytes=total_mib * MIB, workspace_bytes=0)


def test_the_devices_are_the_gpus_in_order_and_the_cpu_with_half_the_host(tmp_path: Path) -> None:
    settings = load_settings(
        config_folder(tmp_path, "devices: {virtual: [{memory: 1000MiB}, {memory: 500MiB}]}"), {}, None
    )

    cpu = DeviceSpec("cpu", "CPU", "cpu", "host", 4 * GIB, 1.0)
    assert device_specs(settings, 8 * GIB) == (GPU0, GPU1, cpu)


def test_a_given_limit_of_the_cpu_is_taken(tmp_path: Path) -> None:
    settings = load_settings(config_folder(tmp_path, "devices: {virtual: [], cpu_memory: 3GiB}"), {}, None)

    (cpu,) = device_specs(settings, 8 * GIB)

    assert cpu.total_bytes == 3 * GIB


def test_more_memory_than_the_host_has_is_refused(tmp_path: Path) -> None:
    settings = load_settings(
        config_folder(tmp_path, "devices: {virtual: [{memory: 7GiB}], cpu_memory: 9GiB}\nram_tier: {budget: 2GiB}"),
        {},
        None,
    )

    with pytest.raises(SettingsError) as caught:
        device_specs(settings, 8 * GIB)

    gpus, cpu = (problem.text for problem in caught.value.problems)
    assert "devices.virtual: with ram_tier.budget they take 9.0 GiB of host RAM; allowed: 8.0 GiB" in gpus
    assert "devices.cpu_memory: 9.0 GiB is given; allowed: at most 8.0 GiB" in cpu


@pytest.mark.parametrize("host_mib", [600, 1024, 1300, 2048, 4096, 8192, 65536])
def test_what_is_left_out_never_takes_more_than_there_is_beside_the_engine(tmp_path: Path, host_mib: int) -> None:
    settings = load_settings(config_folder(tmp_path, ""), {}, None)
    *gpus, cpu = device_specs(settings, host_mib * MIB)
    tier_bytes = ram_tier_bytes(settings, host_mib * MIB)
    assert tier_bytes + sum(gpu.total_bytes for gpu in gpus) + OWN_BYTES <= host_mib * MIB
    assert cpu.total_bytes + OWN_BYTES <= host_mib * MIB
    assert tier_bytes <= 2 * GIB
    assert {gpu.total_bytes for gpu in gpus} == {min(640 * MIB, (host_mib * MIB - OWN_BYTES) // 3)}


def test_a_ram_tier_that_is_left_out_takes_what_named_virtual_gpus_leave(tmp_path: Path) -> None:
    settings = load_settings(config_folder(tmp_path, "devices: {virtual: [{memory: 3GiB}]}"), {}, None)
    assert ram_tier_bytes(settings, 4 * GIB) == GIB - OWN_BYTES


def test_whoever_sets_the_limit_is_named_where_it_is_too_small(tmp_path: Path) -> None:
    settings = load_settings(config_folder(tmp_path, "ram_tier: {budget: 2GiB}"), {}, None)
    with pytest.raises(SettingsError) as caught:
        device_specs(settings, GIB, "the memory limit in /sys/fs/cgroup/memory.max")
    (problem,) = caught.value.problems
    assert problem.text.endswith("1.0 GiB together, the memory limit in /sys/fs/cgroup/memory.max")


OLD = replace(A, capability=(5, 2))
NF4 = ModelSpec("m", ("hub:a/m",), "embedding", "nf4")


def judged(folder: Path, spec: ModelSpec, *cards: GpuFacts, allocation: str = "") -> TooOld | None:
    return too_old(spec, load_settings(config_folder(folder, allocation), {}, None, seen_first(cards)))


@pytest.mark.parametrize("dtype", ["nf4", "nf4-double"])
def test_four_bits_are_refused_where_every_card_is_too_old_for_them(dtype: Dtype, tmp_path: Path) -> None:
    old = judged(tmp_path, replace(NF4, dtype=dtype), OLD)
    assert old == TooOld(
        f'm: "dtype": "{dtype}" takes a card of compute capability 6.0 or newer, and gpu0 has 5.2; choose "float32", or "int8"'
        " where that is too large",
        is_everywhere=True,
    )


def test_where_only_some_cards_are_too_old_the_operator_is_told_to_pin_the_model(tmp_path: Path) -> None:
    newer = card(1, "GPU-b")
    old = judged(tmp_path, NF4, OLD, newer)
    assert old is not None
    assert not old.is_everywhere
    assert old.words.endswith("gpu0 has 5.2; pin it to another device")
    assert judged(tmp_path, replace(NF4, pin=Pin("gpu1")), OLD, newer) is None
    pinned = judged(tmp_path, replace(NF4, pin=Pin("gpu0")), OLD, newer)
    assert pinned is not None
    assert pinned.is_everywhere


def test_four_bits_are_nothing_to_speak_of_elsewhere(tmp_path: Path) -> None:
    assert judged(tmp_path, NF4) is None
    assert judged(tmp_path, NF4, replace(A, capability=(6, 1))) is None
    assert judged(tmp_path, NF4, replace(A, capability=None)) is None
    assert judged(tmp_path, replace(NF4, dtype="int8"), OLD) is None
    assert judged(tmp_path, replace(NF4, pin=Pin("cpu")), OLD) is None


def test_a_slice_of_an_old_card_is_as_old_as_the_card(tmp_path: Path) -> None:
    old = judged(tmp_path, NF4, OLD, allocation="devices: {virtual: [{memory: 1GiB, backing: 'cuda:0'}]}")
    assert old is not None
    assert old.is_everywhere


def test_a_model_that_fits_a_gpu_is_nothing_to_speak_of() -> None:
    assert check_fit((GPU0, GPU1, HOST), {"m": footprint(800)}) == ((), ())


def test_a_model_that_fits_no_device_is_an_error_with_both_sizes() -> None:
    errors, warnings = check_fit((GPU0, HOST), {"m": footprint(2001)})

    assert warnings == ()
    assert errors[0].startswith("m needs 2.0 GiB (estimated) and fits no device; the largest budget is 1.9 GiB on cpu.")


def test_a_model_that_fits_only_the_cpu_is_a_warning() -> None:
    errors, warnings = check_fit((GPU0, GPU1, HOST), {"m": footprint(801)})

    assert errors == ()
    assert warnings == ("m needs 801 MiB (estimated) and fits only the CPU; the largest budget of a GPU is 800 MiB.",)


def test_int8_is_named_where_a_gpu_would_hold_the_model_then() -> None:
    _, (warning,) = check_fit((GPU0, HOST), {"m": footprint(801)}, smaller={"m": {"int8": footprint(410)}})

    assert warning.endswith('a GPU is 800 MiB; with "dtype": "int8" it would need 410 MiB and fit.')


def test_int8_is_named_where_some_device_would_hold_the_model_then() -> None:
    (error,), _ = check_fit(
        (GPU0, HOST), {"m": footprint(3000)}, smaller={"m": {"int8": footprint(1500), "nf4": footprint(900)}}
    )

    assert error.endswith('take it from the catalog; with "dtype": "int8" it would need 1.5 GiB and fit.')


def test_nf4_is_named_where_int8_would_not_do() -> None:
    sizes: dict[Dtype, Footprint] = {"int8": footprint(810), "nf4": footprint(430), "nf4-double": footprint(400)}
    _, (warning,) = check_fit((GPU0, HOST), {"m": footprint(1601)}, smaller={"m": sizes})

    assert warning.endswith('a GPU is 800 MiB; with "dtype": "nf4" it would need 430 MiB and fit.')


def test_int8_is_not_named_where_the_model_would_still_be_too_large() -> None:
    (error,), _ = check_fit((GPU0, HOST), {"m": footprint(5000)}, smaller={"m": {"int8": footprint(2500)}})

    assert error.endswith("take it from the catalog.")


def test_without_gpus_running_on_the_cpu_is_no_warning() -> None:
    assert check_fit((HOST,), {"m": footprint(801)}) == ((), ())


def test_a_model_pinned_to_a_device_that_is_too_small_is_an_error() -> None:
    model = ModelSpec("m", ("hub:a/m",), "embedding", pin=Pin("gpu1"))

    errors, _ = check_fit((GPU0, GPU1, HOST), {"m": footprint(500)}, [model])

    assert errors == (
        "m is pinned to gpu1, whose budget is 400 MiB; it needs 500 MiB. Pin it elsewhere, or give gpu1 more memory.",
    )
