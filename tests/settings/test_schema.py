"""`gpu_allocation.yaml`: what it gives, and what it is refused for."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.policy import Policy
from engine.core.sizes import GIB, MIB
from engine.core.tasks import TaskKind
from engine.settings import Settings, Size, VirtualGpu, load_settings, ram_tier_bytes
from engine.settings.schema import Allocation
from tests.settings.config_files import config_folder, refusals

SHIPPED = Path(__file__).parents[2] / "config"


def loaded(folder: Path, allocation: str) -> Settings:
    return load_settings(config_folder(folder, allocation), {}, None)


def test_the_shipped_files_load_and_say_the_defaults() -> None:
    shipped = load_settings(SHIPPED, {}, None)

    defaults = Allocation()
    assert {name: getattr(shipped, name) for name in Allocation.__struct_fields__} == {
        name: getattr(defaults, name) for name in Allocation.__struct_fields__
    }
    assert [gpu.memory_bytes for gpu in shipped.gpus.values()] == [640 * MIB, 640 * MIB]
    assert shipped.warnings == ()


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "# nothing yet\n")

    assert list(settings.gpus) == ["gpu0", "gpu1"]
    assert settings.memory_fraction == 0.8
    assert (ram_tier_bytes(settings, 64 * GIB), settings.ram_tier.max_models) == (2 * GIB, 2)
    assert settings.policy == Policy()
    assert settings.restore_after_restart


def test_every_value_of_the_file_is_taken(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        """
devices: {virtual: [{memory: 6GiB}], cpu_memory: 1.5 GiB}
memory_fraction: 0.5
ram_tier: {budget: 512MiB, max_models: 7}
policy: {eviction: lru, balancing: pack, cpu_fallback: false, dynamic_loading: no, copies: no, min_residency_s: 0}
loading: {timeout_s: 5, retries: 0, queue_deadline_s: 1.5, drain_deadline_s: 2}
requests: {deadline_s: {embedding: 5, generation: 900}, queue_rows: 10, queue_generations: 3, queue_wait_s: 0.5}
monitoring: {interval_s: 10, sample_s: 0.5, not_answering_s: 4, step_deadline_s: 30}
journal: {max_size: 1MiB, files: 2}
recording: {max_size: 2MiB, files: 3}
restore_after_restart: false
""",
    )

    assert settings.gpus == {"gpu0": VirtualGpu(Size(6 * GIB), backing="ram")}
    assert settings.devices.cpu_memory_bytes == 3 * GIB // 2
    assert (settings.ram_tier.budget_bytes, settings.ram_tier.max_models) == (512 * MIB, 7)
    assert settings.policy == Policy(
        "lru", "pack", cpu_fallback=False, dynamic_loading=False, copies=False, min_residency_s=0
    )
    assert (settings.loading.timeout_s, settings.loading.retries) == (5, 0)
    requests = settings.requests
    kinds: tuple[TaskKind, ...] = ("embedding", "generation", "rerank", "classify")
    assert [requests.deadline_s.of(kind) for kind in kinds] == [5, 900, 120, 120]
    assert (requests.queue_rows, requests.queue_generations, requests.queue_wait_s) == (10, 3, 0.5)
    assert (settings.monitoring.interval_s, settings.monitoring.sample_s) == (10, 0.5)
    assert (settings.monitoring.not_answering_s, settings.monitoring.step_deadline_s) == (4, 30)
    assert (settings.journal.max_bytes, settings.journal.files) == (MIB, 2)
    assert (settings.recording.max_bytes, settings.recording.files) == (2 * MIB, 3)
    assert not settings.restore_after_restart


def test_a_key_without_a_value_counts_as_left_out(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "policy:\ndevices:\n  cpu_memory:\n  virtual:\n    - {memory: 1GiB, backing: }\n")

    assert settings.policy == Policy()
    assert settings.gpus["gpu0"].backing == "ram"


def test_an_empty_list_of_gpus_means_the_cpu_alone(tmp_path: Path) -> None:
    assert loaded(tmp_path, "devices: {virtual: []}").gpus == {}


@pytest.mark.parametrize(
    ("allocation", "refusal"),
    [
        ("memory_fraction: 1.4", "memory_fraction: 1.4 is given; allowed: a number over 0 and at most 1"),
        ("memory_fraction: 0", "memory_fraction: 0 is given; allowed: a number over 0 and at most 1"),
        ("memory_fraction: .nan", "memory_fraction: nan is given; allowed: a number over 0 and at most 1"),
        ("memory_fraction: 80%", "memory_fraction: '80%' is given; allowed: a number over 0 and at most 1"),
        ("memory_fraction: true", "memory_fraction: true is given; allowed: a number over 0 and at most 1"),
        ("restore_after_restart: 1", "restore_after_restart: 1 is given; allowed: true or false"),
        ("policy: {eviction: random}", "policy.eviction: 'random' is given; allowed: one of expected_loss, lru, lfu"),
        ("policy: {min_residency_s: -1}", "policy.min_residency_s: -1 is given; allowed: seconds from 0 to 3600"),
        ("loading: 5", "loading: 5 is given; allowed: a table with timeout_s, retries"),
        ("requests: {deadline_s: 30}", "requests.deadline_s: 30 is given; allowed: a table with embedding, rerank"),
        ("requests: {deadline_s: {classify: 0}}", "requests.deadline_s.classify: 0 is given; allowed: seconds, over 0"),
        ("monitoring: {not_answering_s: 1}", "monitoring.not_answering_s: 1 is given; allowed: seconds, at least 3"),
        ("requests: {queue_rows: 0}", "requests.queue_rows: 0 is given; allowed: a whole number from 1 to 1000000"),
        ("ram_tier: {budget: 2GB}", "ram_tier.budget: '2GB' is given; allowed: a size of at least 1MiB"),
        ("ram_tier: {budget: 0MiB}", "ram_tier.budget: '0MiB' is given; allowed: a size of at least 1MiB"),
        ("ram_tier: {budget: 1048576}", "ram_tier.budget: 1048576 is given; allowed: a size of at least 1MiB"),
        (f"ram_tier: {{budget: {'9' * 400}TiB}}", "ram_tier.budget: '9999"),
        ("ram_tier: {max_models: 0}", "ram_tier.max_models: 0 is given; allowed: a whole number from 1 to 1000"),
        ("devices: {virtual: auto}", "devices.virtual: 'auto' is given; allowed: a list of at most 16, such as ["),
        ("devices: {virtual: [{}]}", "devices.virtual[0].memory: nothing is given; allowed: a size"),
        (
            "devices: {virtual: [{memory: 1GiB, backing: disk}]}",
            "devices.virtual[0].backing: 'disk' is given; allowed: ram",
        ),
        ("- a\n- list", "a list is given; allowed: a table with devices, memory_fraction"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_given_and_what_is_allowed(
    tmp_path: Path, allocation: str, refusal: str
) -> None:
    (problem,) = refusals(config_folder(tmp_path, allocation))

    assert problem.startswith(f"gpu_allocation.yaml: {refusal}")


def test_more_gpus_than_can_be_named_are_refused(tmp_path: Path) -> None:
    gpus = ", ".join(["{memory: 1MiB}"] * 17)

    (problem,) = refusals(config_folder(tmp_path, f"devices: {{virtual: [{gpus}]}}"))

    assert "devices.virtual: a list is given; allowed: a list of at most 16" in problem


def test_an_unknown_key_is_refused_with_the_one_that_was_probably_meant(tmp_path: Path) -> None:
    (problem,) = refusals(config_folder(tmp_path, "ram_tier: {max_model: 3}"))

    assert problem == (
        "gpu_allocation.yaml: ram_tier.max_model: there is no such key; "
        "allowed: budget, max_models; did you mean max_models?"
    )


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    (problem,) = refusals(config_folder(tmp_path, "policy:\n  eviction: lru\n  eviction: lfu\n"))

    assert problem == "gpu_allocation.yaml: policy.eviction: the key is given more than once; allowed: once"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("policy: {eviction: lru", "not YAML in line 1"),
        ("a: 1\nb: ]\n", "not YAML in line 2"),
        ("? [a]\n: 1\n", "a key must be plain text"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: &x [*x]", "found unconstructable recursive node"),
        ("day: 2024-13-45", "not usable YAML"),
        ("a: \x07", "not usable YAML"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_bad_syntax_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    (problem,) = refusals(config_folder(tmp_path, text))

    assert problem.startswith("gpu_allocation.yaml: ")
    assert words in problem


def test_a_file_that_is_missing_or_not_text_is_refused(tmp_path: Path) -> None:
    config_folder(tmp_path)
    (tmp_path / "model_gpu_mapping.json").unlink()
    (tmp_path / "gpu_allocation.yaml").write_bytes(b"memory_fraction: \xff")

    assert refusals(tmp_path) == [
        "gpu_allocation.yaml: the file is not UTF-8 text (byte 17)",
        f"model_gpu_mapping.json: the file is missing from {tmp_path}",
    ]


def test_what_a_terminal_could_misread_is_escaped(tmp_path: Path) -> None:
    (problem,) = refusals(config_folder(tmp_path, '"\\e[2Jkey": 1'))

    assert problem.isprintable()
    assert r"'\x1b[2Jkey'" in problem
