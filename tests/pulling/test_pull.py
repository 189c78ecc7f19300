"""Fetching a model from a hub on loopback: only what is read, on from where the line broke, checked, in words when it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engine.api import EngineError
from engine.core.models import ModelSpec
from engine.core.pulling import NotPulled, PullAdvanced, PullBegun, PullCut, Pulled, PullNews
from engine.pull import Pulling, order_of
from engine.pull_program import SAY_BYTES
from engine.weights.hub_cache import hub_folder
from engine.weights.sources import resolve
from tests.pulling.hub import COMMIT, Hub, serving_hub
from tests.weights.checkpoints import BERT_CONFIG, write_checkpoint


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))
    return tmp_path / "hub"


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    folder = write_checkpoint(tmp_path / "origin")
    (folder / "config.json").write_bytes(msgspec.json.encode(BERT_CONFIG | {"architectures": ["BertModel"]}))
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files |= {
        "README.md": b"# words",
        "pytorch_model.bin": b"\x80" * 100,
        "onnx/model.onnx": b"o" * 100,
        "train.py": b"1",
    }
    return Hub(files)


@pytest.fixture
def address(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving_hub(hub) as found:
        monkeypatch.setenv("HF_ENDPOINT", found)
        yield found


def pull(text: str = "org/model") -> list[PullNews]:
    with Pulling(order_of(text)) as news:
        return list(news)


def refusal(text: str = "org/model") -> str:
    ended = pull(text)[-1]
    assert isinstance(ended, NotPulled)
    return ended.reason


@pytest.mark.usefixtures("address")
def test_what_is_read_comes_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    news = pull()

    ended = news[-1]
    assert isinstance(ended, Pulled)
    read = {"config.json", "tokenizer.json", "model.safetensors"}
    assert {path.name for path in Path(ended.folder).iterdir()} == read
    assert {name for name, _ in hub.asked} == read
    assert PullBegun(3, ended.size_bytes, len(hub.files["config.json"])) in news
    assert resolve(ModelSpec("mine", ("hub:org/model",), "embedding"), tmp_path).folder == hub_folder("org/model", None)


@pytest.mark.usefixtures("address")
def test_a_cut_connection_goes_on_from_where_it_was(hub: Hub) -> None:
    whole = len(hub.files["model.safetensors"])
    hub.cuts = [whole // 3, whole // 3]

    news = pull()

    assert isinstance(news[-1], Pulled)
    assert [item.file for item in news if isinstance(item, PullCut)] == ["model.safetensors"] * 2
    assert [asked for name, asked in hub.asked if name == "model.safetensors"] == [
        "",
        f"bytes={whole // 3}-",
        f"bytes={2 * (whole // 3)}-",
    ]
    assert (Path(news[-1].folder) / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


@pytest.mark.usefixtures("address")
def test_what_came_before_an_interruption_is_not_fetched_again(hub: Hub) -> None:
    hub.files["model.safetensors"] += b"w" * 3 * SAY_BYTES
    hub.cuts = [2 * SAY_BYTES]
    hub.may_go_on.clear()
    with Pulling(order_of("org/model")) as news:
        come = next(item for item in news if isinstance(item, PullAdvanced) and item.done_bytes >= SAY_BYTES)
        assert come.file == "model.safetensors"
    hub.may_go_on.set()

    again = pull()

    assert isinstance(again[-1], Pulled)
    fetched = [asked for name, asked in hub.asked if name == "model.safetensors"]
    assert len(fetched) == 2
    assert int(fetched[1].removeprefix("bytes=").removesuffix("-")) >= SAY_BYTES - 1000
    assert [name for name, _ in hub.asked].count("config.json") == 1


@pytest.mark.usefixtures("address")
def test_a_hub_that_gives_the_whole_file_anew_is_taken_at_its_word(hub: Hub) -> None:
    hub.cuts, hub.honours_ranges = [100], False
    assert isinstance(pull()[-1], Pulled)


@pytest.mark.usefixtures("address")
def test_a_model_that_is_there_is_not_fetched_again(hub: Hub) -> None:
    pull()
    hub.asked.clear()

    news = pull()

    assert isinstance(news[-1], Pulled)
    assert hub.asked == []


@pytest.mark.usefixtures("address")
def test_a_revision_is_what_the_catalog_calls_it(hub: Hub) -> None:
    assert isinstance(pull("hub:org/model@v2")[-1], Pulled)
    assert hub_folder("org/model", "v2").name == COMMIT
    assert refusal("org/model@v3") == "org/model has no revision v3"


@pytest.mark.usefixtures("address")
def test_damaged_bytes_are_thrown_away(hub: Hub, cache: Path) -> None:
    hub.damaged = True
    assert "model.safetensors of org/model came damaged, and was thrown away" in refusal()
    assert not list(cache.rglob("*.incomplete"))

    hub.damaged = False
    assert isinstance(pull()[-1], Pulled)


@pytest.mark.usefixtures("address")
def test_the_parts_of_large_weights_come_as_their_index_names_them(hub: Hub) -> None:
    weights = hub.files.pop("model.safetensors")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    hub.files |= {name: weights + name.encode() for name in names}
    hub.files["model.safetensors.index.json"] = json.dumps({"weight_map": {"a": names[0], "b": names[1]}}).encode()
    hub.files["consolidated.safetensors"] = weights

    ended = pull()[-1]

    assert isinstance(ended, Pulled)
    found = {path.name for path in Path(ended.folder).iterdir()}
    assert found == {"config.json", "tokenizer.json", "model.safetensors.index.json", *names}
    del hub.files[names[1]]
    assert f"lacks {names[1]}" in refusal()


@pytest.mark.usefixtures("address")
def test_the_folders_of_modules_come_with_their_weights(hub: Hub) -> None:
    hub.files["modules.json"] = json.dumps([{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}]).encode()
    hub.files |= {"1_Pooling/config.json": b"{}", "2_Dense/config.json": b"{} ", "2_Dense/model.safetensors": b"w" * 70}
    hub.files |= {"2_Dense/pytorch_model.bin": b"w", "other/config.json": b"{}  "}

    ended = pull()[-1]

    assert isinstance(ended, Pulled)
    paths = {str(p.relative_to(ended.folder)) for p in Path(ended.folder).rglob("*") if p.is_file()}
    assert {"1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"} <= paths
    assert not {"2_Dense/pytorch_model.bin", "other/config.json"} & paths


@pytest.mark.usefixtures("address")
def test_a_repository_that_cannot_be_read_is_refused_before_anything_comes(hub: Hub) -> None:
    del hub.files["model.safetensors"], hub.files["onnx/model.onnx"]
    assert "has its weights only as .bin (pickle) files" in refusal()
    del hub.files["config.json"]
    assert refusal() == "org/model has no config.json, so it is no model of transformers; name another repository"
    assert hub.asked == []


@pytest.mark.usefixtures("address")
def test_room_on_the_disk_is_looked_at_before_the_weights_come(hub: Hub) -> None:
    hub.listed_bytes = 1 << 60
    assert "org/model needs" in (said := refusal())
    assert "free some, or name another folder with HF_HOME" in said
    assert "model.safetensors" not in [name for name, _ in hub.asked]


def test_a_revision_without_a_name_is_none() -> None:
    with pytest.raises(EngineError, match="names no revision behind the @"):
        order_of("org/model@")


@pytest.mark.usefixtures("address")
def test_who_needs_a_token_is_told_and_served_with_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"
    assert "set HF_TOKEN where it is private" in refusal()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert isinstance(pull()[-1], Pulled)


@pytest.mark.usefixtures("hub")
def test_gated_unknown_and_unreachable_are_three_different_things(
    hub: Hub, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"{address} has no org/other" in refusal("org/other")
    assert "is no name of a repository" in refusal("org//other")
    hub.gated = True
    assert f"org/model is gated: agree to its terms at {address}/org/model" in refusal()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 can't be reached" in refusal()
