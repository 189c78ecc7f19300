"""The environment goes before `.env`, `.env` before the files, the files before the defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.models import Pin
from engine.settings import load_settings
from engine.settings.environment import KNOWN
from tests.settings.config_files import config_folder, refusals

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def dotenv(folder: Path, text: str) -> Path:
    path = folder / ".env"
    path.write_text(text, encoding="utf-8")
    return path


def test_each_variable_replaces_what_the_file_says(tmp_path: Path) -> None:
    settings = load_settings(
        config_folder(tmp_path, "memory_fraction: 0.3"),
        {
            "GPU_MEMORY_FRACTION": "0.5",
            "DYNAMIC_LOADING_ENABLED": "false",
            "CPU_FALLBACK_ENABLED": "0",
            "MEMORY_MONITORING_INTERVAL": "12.5",
            "MODEL_CACHE_SIZE": "5",
        },
        None,
    )

    assert settings.memory_fraction == 0.5
    assert not settings.policy.dynamic_loading
    assert not settings.policy.cpu_fallback
    assert settings.monitoring.interval_s == 12.5
    assert settings.ram_tier.max_models == 5


def test_the_process_goes_before_dotenv_and_dotenv_before_the_files(tmp_path: Path) -> None:
    folder = config_folder(tmp_path, "memory_fraction: 0.3\nram_tier: {max_models: 9}")
    file = dotenv(tmp_path, "GPU_MEMORY_FRACTION=0.4\nMODEL_CACHE_SIZE=4\n")

    settings = load_settings(folder, {"GPU_MEMORY_FRACTION": "0.5"}, file)

    assert settings.memory_fraction == 0.5
    assert settings.ram_tier.max_models == 4


def test_a_wrong_value_in_dotenv_does_not_matter_when_the_process_overrides_it(tmp_path: Path) -> None:
    file = dotenv(tmp_path, "GPU_MEMORY_FRACTION=lots\n")

    assert load_settings(config_folder(tmp_path), {"GPU_MEMORY_FRACTION": "0.5"}, file).memory_fraction == 0.5


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("GPU_MEMORY_FRACTION", "1.4", "a number over 0 and at most 1"),
        ("GPU_MEMORY_FRACTION", "nan", "a number over 0 and at most 1"),
        ("GPU_MEMORY_FRACTION", "null", "a number over 0 and at most 1"),
        ("MODEL_CACHE_SIZE", "", "a whole number from 1 to 1000"),
        ("MODEL_CACHE_SIZE", "two", "a whole number from 1 to 1000"),
        ("MEMORY_MONITORING_INTERVAL", "0", "seconds, over 0 and at most 86400"),
        ("CUDA_ENABLED", "maybe", "true or false"),
        ("CUDA_VISIBLE_DEVICES", "0,2", "0, 1, each at most once"),
        ("CUDA_VISIBLE_DEVICES", "1,1", "0, 1, each at most once"),
        ("CUDA_VISIBLE_DEVICES", "GPU-8932f937", "0, 1, each at most once"),
    ],
)
@pytest.mark.parametrize("origin", ["environment", ".env"])
def test_a_wrong_variable_is_refused_with_where_it_stands(
    tmp_path: Path, variable: str, value: str, allowed: str, origin: str
) -> None:
    folder, process = config_folder(tmp_path), {variable: value} if origin == "environment" else {}
    file = dotenv(tmp_path, f"{variable}={value}") if origin == ".env" else None

    (problem,) = refusals(folder, process, file)

    assert problem.startswith(f"{origin}: {variable}: {value!r} is given; allowed: {allowed}")


@pytest.mark.parametrize(
    "environment",
    [
        {"CUDA_ENABLED": "false"},
        {"CUDA_ENABLED": "False"},
        {"CUDA_VISIBLE_DEVICES": ""},
        {"CUDA_VISIBLE_DEVICES": "-1"},
        {"CUDA_VISIBLE_DEVICES": "NoDevFiles"},
    ],
)
def test_switching_cuda_off_leaves_the_cpu_alone_with_no_other_change(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = config_folder(tmp_path, "", {"preferred_device": "gpu1", "pin": "gpu0"})

    settings = load_settings(folder, environment, None)

    assert settings.gpus == {}
    (model,) = settings.models
    assert (model.preferred_device, model.pin) == (None, Pin())
    assert settings.warnings == (
        "minilm is meant for gpu0, which the environment hides or which can run no model; it goes where there is room",
    )


def test_an_empty_variable_in_dotenv_switches_the_gpus_off_too(tmp_path: Path) -> None:
    assert load_settings(config_folder(tmp_path), {}, dotenv(tmp_path, "CUDA_VISIBLE_DEVICES=\n")).gpus == {}


def test_selected_gpus_keep_their_names(tmp_path: Path) -> None:
    folder = config_folder(tmp_path, "", {"preferred_device": "gpu1", "pin": "cpu"})

    settings = load_settings(folder, {"CUDA_VISIBLE_DEVICES": " 1 "}, None)

    assert list(settings.gpus) == ["gpu1"]
    assert (settings.models[0].preferred_device, settings.models[0].pin) == ("gpu1", Pin("cpu"))
    assert settings.warnings == ()


def test_dotenv_is_read_with_quotes_comments_and_export(tmp_path: Path) -> None:
    file = dotenv(
        tmp_path,
        "\n".join(
            [
                "# a comment",
                "",
                "export GPU_MEMORY_FRACTION = '0.5'",
                'MODEL_CACHE_SIZE="3" # three',
                "CPU_FALLBACK_ENABLED=false   # inline",
                "MEMORY_MONITORING_INTERVAL=10",
                "MEMORY_MONITORING_INTERVAL=20\r",
                'TOKEN=a#b "c" \'d',
                "EMPTY=",
            ]
        ),
    )

    settings = load_settings(config_folder(tmp_path), {}, file)

    assert (settings.memory_fraction, settings.ram_tier.max_models) == (0.5, 3)
    assert (settings.policy.cpu_fallback, settings.monitoring.interval_s) == (False, 20)


SHARED = """\
# of a web shop, and of Citadel
PRIVATE_KEY="-----BEGIN KEY-----
hf_secret=
-----END KEY-----"
export DATABASE_URL='postgres://shop@db/shop'
my-app.name=shop
MOTD="it's \\"late\\"" # said daily
JUST_A_NAME
EMPTY=

FRACTION=0.25
GPU_MEMORY_FRACTION=${FRACTION}
"""


def test_a_file_shared_with_other_programs_is_read_without_a_word(tmp_path: Path) -> None:
    settings = load_settings(config_folder(tmp_path), {}, dotenv(tmp_path, SHARED))

    assert settings.memory_fraction == 0.25
    assert settings.warnings == ()


def test_lines_of_others_that_are_no_variables_are_passed_over_by_number_and_never_quoted(tmp_path: Path) -> None:
    file = dotenv(tmp_path, "HF_TOKEN=fine\n\nAPI KEY=hf_secret\nQUOTED='hf_secret\nMODEL_CACHE_SIZE=3\n")

    settings = load_settings(config_folder(tmp_path), {}, file)

    assert settings.ram_tier.max_models == 3
    assert settings.warnings == tuple(f".env: line {n} is no variable, so it is passed over" for n in (3, 4))


@pytest.mark.parametrize("line", ["MODEL_CACHE_SIZE", "export MODEL_CACHE_SIZE: 3", "MODEL_CACHE_SIZE='3"])
def test_ours_without_a_value_is_refused(tmp_path: Path, line: str) -> None:
    (problem,) = refusals(config_folder(tmp_path), {}, dotenv(tmp_path, f"A=1\n{line}\n"))

    assert problem == ".env: line 2: MODEL_CACHE_SIZE is given no value; allowed: MODEL_CACHE_SIZE=VALUE"


def test_ours_within_a_quote_that_was_left_open_is_warned_of(tmp_path: Path) -> None:
    file = dotenv(tmp_path, "GREETING='hello\nMODEL_CACHE_SIZE=3\nNAME='shop'\n")

    (warning,) = [w for w in load_settings(config_folder(tmp_path), {}, file).warnings if "MODEL_CACHE_SIZE" in w]

    assert warning == (
        ".env: MODEL_CACHE_SIZE stands within the quotes that begin in line 1, so it is not read; is a closing quote missing?"
    )


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16"])
def test_ours_is_read_whatever_others_write_in(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes("PASSWORD=größer\r\nMODEL_CACHE_SIZE=3\r\n".encode(encoding))

    assert load_settings(config_folder(tmp_path), {}, file).ram_tier.max_models == 3


@pytest.mark.parametrize("written", ["GPU_MEMORY_FRACTON", "gpu_memory_fraction", "GPU-MEMORY-FRACTION"])
def test_a_near_miss_in_dotenv_is_warned_of_without_its_value(tmp_path: Path, written: str) -> None:
    file = dotenv(tmp_path, f"{written}=0.123\nHF_TOKEN=secret\nCUDA_DEVICE_ORDER=PCI_BUS_ID\n")

    settings = load_settings(config_folder(tmp_path), {}, file)

    assert settings.warnings == (f".env: {written} is not read by Citadel; did you mean GPU_MEMORY_FRACTION?",)


def test_the_example_names_every_variable_with_its_default(tmp_path: Path) -> None:
    uncommented = EXAMPLE.read_text(encoding="utf-8").replace("\n#", "\n")
    variables = [line for line in uncommented.splitlines() if line.partition("=")[0] in KNOWN]
    file = dotenv(tmp_path, "\n".join(variables))

    folder = config_folder(tmp_path)

    assert len(variables) == len(KNOWN)
    assert load_settings(folder, {}, file) == load_settings(folder, {}, None) == load_settings(folder, {}, EXAMPLE)
