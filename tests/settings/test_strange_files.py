"""Configuration that nobody writes on purpose is refused in a sentence, soon, whatever stands in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.settings import SettingsError, load_settings
from tests.settings.config_files import config_folder

BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (letter, letter, b",".join([b"*%c" % (letter - 1)] * 9)) for letter in range(98, 106)
)
CATALOG = b'{"models":[{"name":"%s","source":"%s","task":"embedding","limits":{"max_batch":%s}}]}'


def refusal(folder: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings(folder, {}, None)
    said = str(refused.value)
    assert len(said) < 5000
    assert all(line.isprintable() for line in said.split("\n"))
    return said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            b"memory_fraction: !!int x\n",
            "not YAML in line 1, column 18: the tag !!int is not read; write the value without it",
        ),
        (b"restore_after_restart: !!bool x\n", "the tag !!bool is not read"),
        (b"devices: !!set {a, b}\n", "the tag !!set is not read"),
        (b"x: !!python/object/apply:os.system ['id']\n", "could not determine a constructor for the tag"),
        (b"x: !<\xc2\x9b> a\n", "not usable YAML: unacceptable character #x009b"),
        (BOMB, "the file has more than 1000000 values"),
        (b"devices: &d\n  virtual: [*d]\n", "found unconstructable recursive node"),
        (b"devices: " + b"[" * 20_000, "the file is nested too deeply"),
        (b"devices: " + b"[" * 100 + b"]" * 100, "the file is nested too deeply: more than 50 levels"),
        (b"x: " + b"a" * 5_000_000, "larger than any such file is, 262144 bytes"),
        (b"memory_fraction: " + b"9" * 6000, "value has 6000 digits"),
        (b"memory_fraction: \xff\n", "not UTF-8 text (byte 17)"),
        (b"ram_tier: {budget: " + b"9" * 400 + b"GiB}\n", "ram_tier.budget"),
        (b"\xc2\x9b: 1\n", "not usable YAML"),
        (b"true: 1\n0: 2\n", ": there is no such key"),
    ],
    ids=[
        "int",
        "bool",
        "set",
        "python",
        "strange tag",
        "bomb",
        "itself",
        "open",
        "deep",
        "5 MB",
        "digits",
        "UTF-8",
        "inf",
        "C1",
        "keys",
    ],
)
def test_strange_yaml_is_refused_in_words(tmp_path: Path, written: bytes, said: str) -> None:
    config_folder(tmp_path)
    (tmp_path / "gpu_allocation.yaml").write_bytes(written)

    assert said in refusal(tmp_path)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (CATALOG % (b"\\ud800", b"hub:a/b", b"1"), "a text holds half characters"),
        (CATALOG % (b"m", b"path:/\\ud800", b"1"), "a text holds half characters"),
        (CATALOG % (b"m", b"hub:a/b", b"9" * 6000), "value has 6000 digits"),
        (b"[" * 200_000, "the file is nested too deeply"),
        (b'{"models":[' + b'{"a":' * 60 + b"1" + b"}" * 60 + b"]}", "more than 50 levels"),
        (b'{"models":[{"name":"\xff"}]}', "not UTF-8 text"),
        (b'{"models":[{"%s":1}]}' % (b"x" * 1_000_000), "there is no such key"),
        (b'{"models":[{"name":"\\u202e\\u009b"}]}', r"('\u202e\x9b')"),
    ],
    ids=["surrogate name", "surrogate source", "digits", "open", "deep", "UTF-8", "long key", "bidi"],
)
def test_a_strange_catalog_is_refused_in_words(tmp_path: Path, written: bytes, said: str) -> None:
    config_folder(tmp_path)
    (tmp_path / "model_gpu_mapping.json").write_bytes(written)

    assert said in refusal(tmp_path)
