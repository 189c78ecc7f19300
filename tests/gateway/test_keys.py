"""Keys: shown once, kept as hashes, trusted only in a file that nobody else can read, and gone as soon as they are taken away."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.gateway.keys import KEY_PREFIX, KeyFile, KeysRefused, add_key, name_of, read_keys, remove_key
from engine.whole_file import only_writer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_is_known_by_its_name_and_kept_as_a_hash(path: Path) -> None:
    secret = add_key(path, "app", now_s=12.0)
    other = add_key(path, "web", now_s=13.0)
    assert secret.startswith(KEY_PREFIX)
    assert len(secret) > 40
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    keys = read_keys(path)
    assert [(key.name, key.made_at_s) for key in keys] == [("app", 12.0), ("web", 13.0)]
    assert (name_of(keys, secret), name_of(keys, other), name_of(keys, secret + "x")) == ("app", "web", None)


def test_no_file_knows_nobody(path: Path) -> None:
    assert read_keys(path) == ()
    assert KeyFile(path).name_of("anything") is None


def test_keys_that_are_added_or_taken_away_count_at_once(path: Path) -> None:
    file = KeyFile(path)
    first = add_key(path, "first", 0.0)
    assert file.name_of(first) == "first"
    second = add_key(path, "second", 0.0)
    assert file.name_of(second) == "second"
    remove_key(path, "first")
    assert file.name_of(first) is None
    path.unlink()
    assert file.name_of(second) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_open_lets_nobody_in(path: Path, mode: int) -> None:
    secret = add_key(path, "app", 0.0)
    file = KeyFile(path)
    assert file.name_of(secret) == "app"
    path.chmod(mode)
    with pytest.raises(KeysRefused, match=f"chmod 600 {path}"):
        file.name_of(secret)
    with pytest.raises(KeysRefused, match="open to other users"):
        add_key(path, "second", 0.0)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff\xfe", b'{"keys": [{"name": 3}]}', b"[" * 100_000])
def test_a_file_of_something_else_is_refused_and_kept(path: Path, body: bytes) -> None:
    path.write_bytes(body)
    path.chmod(0o600)
    with pytest.raises(KeysRefused, match="holds no keys"):
        read_keys(path)
    with pytest.raises(KeysRefused, match="holds no keys"):
        add_key(path, "app", 0.0)
    assert path.read_bytes() == body


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ä", "-x"])
def test_names_that_a_terminal_could_misread_are_refused(path: Path, name: str) -> None:
    with pytest.raises(KeysRefused, match="a key's name is"):
        add_key(path, name, 0.0)


def test_a_name_is_given_once_and_a_missing_one_is_named_with_those_that_are_there(path: Path) -> None:
    add_key(path, "app", 0.0)
    with pytest.raises(KeysRefused, match="citadel keys rm app"):
        add_key(path, "app", 0.0)
    with pytest.raises(KeysRefused, match="no key is named web; there are: app"):
        remove_key(path, "web")


def test_two_who_change_the_keys_at_once_lose_none(path: Path) -> None:
    with only_writer(path.parent), pytest.raises(KeysRefused, match=r"somebody else changes .* just now; try again"):
        add_key(path, "late", 0.0)

    assert read_keys(path) == ()
    add_key(path, "late", 0.0)
    with only_writer(path.parent), pytest.raises(KeysRefused, match="try again"):
        remove_key(path, "late")
    assert [key.name for key in read_keys(path)] == ["late"]
