"""The section `http`: where applications are served, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.gateway.door import DoorRefused, rules_of
from engine.settings import load_settings
from engine.settings.problems import SettingsError
from engine.settings.schema import HttpSettings
from tests.settings.config_files import config_folder


@pytest.mark.parametrize("listen", ["127.0.0.1:8484", "[::1]:8484", "localhost:1", "0.0.0.0:65535"])
def test_the_environment_says_where_applications_are_served(tmp_path: Path, listen: str) -> None:
    settings = load_settings(config_folder(tmp_path), {"CITADEL_LISTEN": listen}, None)
    assert settings.http.listen == listen


@pytest.mark.parametrize("listen", ["8484", "127.0.0.1", "http://127.0.0.1:8484", "a b:1", "::1:8484"])
def test_an_address_that_is_none_is_refused_with_an_example(tmp_path: Path, listen: str) -> None:
    with pytest.raises(SettingsError, match=r"CITADEL_LISTEN.*such as 127\.0\.0\.1:8484"):
        load_settings(config_folder(tmp_path), {"CITADEL_LISTEN": listen}, None)


@pytest.mark.parametrize("listen", ["0.0.0.0:8484", "192.168.1.7:8484", "[::]:8484", "models.lan:8484"])
def test_without_keys_only_loopback_is_listened_at(tmp_path: Path, listen: str) -> None:
    with pytest.raises(DoorRefused, match=r"citadel keys add NAME"):
        rules_of(HttpSettings(listen=listen, keys="none"), tmp_path / "keys.json")
    assert rules_of(HttpSettings(listen=listen), tmp_path / "keys.json").keys is not None


@pytest.mark.parametrize("listen", ["127.0.0.1:8484", "127.5.5.5:8484", "[::1]:8484", "localhost:8484"])
def test_on_loopback_everybody_may_be_let_in(tmp_path: Path, listen: str) -> None:
    assert rules_of(HttpSettings(listen=listen, keys="none"), tmp_path / "keys.json").keys is None
