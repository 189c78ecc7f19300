"""Two runs side by side."""

from __future__ import annotations

from msgspec.structs import replace

from engine.bench.compare import compare_runs
from engine.recording.host_facts import DeviceFacts
from tests.bench.runs import MACHINE, run_of, series


def test_each_subject_of_both_runs_is_compared_by_its_medians() -> None:
    compared = compare_runs(run_of(series("m", [1.0, 1.0, 5.0])), run_of(series("m", [2.0, 2.0, 2.0])))
    (only,) = compared.comparisons
    assert (only.before_s, only.after_s, only.change.share) == (1.0, 2.0, 1.0)


def test_the_same_model_on_two_devices_is_two_subjects() -> None:
    before = run_of(series("m", [1.0], "gpu0"), series("m", [3.0], "gpu1"))
    assert [comparison.before_s for comparison in compare_runs(before, before).comparisons] == [1.0, 3.0]


def test_what_only_one_run_has_is_named_and_not_compared() -> None:
    compared = compare_runs(run_of(series("old", [1.0])), run_of(series("new", [1.0])))
    assert compared.comparisons == ()
    assert [found.subject.model for found in compared.only_before] == ["old"]
    assert [found.subject.model for found in compared.only_after] == ["new"]


def test_another_machine_torch_or_card_is_pointed_out() -> None:
    card = DeviceFacts("gpu0", "NVIDIA GeForce GT 1030", 2 << 30, None)
    before = replace(MACHINE, devices=(replace(card, title="virtual GPU in host RAM"),))
    after = replace(MACHINE, host="other", versions={"torch": "2.8.0"}, devices=(card,))
    differences = compare_runs(run_of(machine=before), run_of(machine=after)).differences
    assert differences == (
        "host: box before, other after",
        "torch: 2.7.1 before, 2.8.0 after",
        "gpu0: virtual GPU in host RAM before, NVIDIA GeForce GT 1030 after",
    )


def test_another_pace_of_the_engines_readings_is_pointed_out() -> None:
    quiet = replace(MACHINE, sample_s=10.0)
    assert compare_runs(run_of(machine=MACHINE), run_of(machine=quiet)).differences == (
        "readings of devices: as ever before, every 10 s after",
    )


def test_a_model_of_another_size_is_pointed_out() -> None:
    larger = replace(series("m", [1.0]), weights_bytes=180 << 20)
    differences = compare_runs(run_of(series("m", [1.0])), run_of(larger)).differences
    assert differences == ("m: 94371840 bytes before, 188743680 after",)
