"""A slab that rests in the arena while its model is prepared anew: no layout is ever bound to bytes of another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.core.commands import Evict, Load, Submission
from engine.core.models import ModelSpec
from engine.core.plans import Tier
from engine.core.sizes import GIB, MIB
from engine.devices.control_groups import MemoryLimit
from engine.devices.host import HostMemory
from engine.runtime.slab_store import FetchReports, PassingFailure, SlabStore
from engine.weights.arena import Arena
from engine.weights.errors import WeightsError
from engine.weights.layout import TensorFacts, place
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared, SlabContents, write_prepared
from engine.weights.sources import prepared_folder, resolve
from tests.runtime.live_engines import scripted_engine
from tests.runtime.scripted_workers import ScriptedSpawner
from tests.weights.checkpoints import write_checkpoint


async def test_the_engine_binds_each_slab_with_the_layout_that_it_was_read_with(tmp_path: Path) -> None:
    async with scripted_engine(tmp_path) as box:
        for number, replaced in enumerate((False, False, True)):
            box.store.replaced |= {"e5-small"} if replaced else set()
            await box.engine.submit(Submission(f"load-{number}", Load("e5-small", "gpu0")))
            await box.engine.submit(Submission(f"evict-{number}", Evict("e5-small")))
        binds = box.spawner.workers["gpu0"].binds
        assert [bind.layout_id for bind in binds] == ["layout-1", "layout-1", "layout-2"]


class IgnoredReports(FetchReports):
    """Of a fetch that nobody follows."""

    def prepared(self, done: float) -> None: ...

    def opened(self, tier: Tier, region: Region) -> None: ...

    def grew(self, read_bytes: int) -> None: ...


class NotedPreparing(IgnoredReports):
    """Hears how much has been prepared."""

    def __init__(self) -> None:
        self.shares: list[float] = []

    def prepared(self, done: float) -> None:
        self.shares.append(done)


class PreparedMeanwhile(IgnoredReports):
    """The model is prepared anew as soon as its slab has been opened."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self._paths = (folder, checkpoint)

    def opened(self, tier: Tier, region: Region) -> None:
        write(*self._paths, value=2)


def write(folder: Path, checkpoint: Path, value: int) -> Prepared:
    facts = TensorFacts("a", "parameter", "U8", (4096,), (1,), 4096)
    contents = SlabContents("BertModel", "path:/x", place([facts]), ())
    data = memoryview(bytes([value]) * 4096)
    return write_prepared(folder, checkpoint, contents, lambda _: data, lambda _: None)


async def test_a_slab_whose_file_is_replaced_while_it_is_read_is_not_kept(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    spec = ModelSpec("m", (f"path:{checkpoint}",), "embedding")
    source = resolve(spec, tmp_path)
    folder = prepared_folder(spec, source, tmp_path)
    first = write(folder, checkpoint, value=1)
    store = SlabStore({"m": spec}, {"m": source}, tmp_path, Arena(1 << 20), ScriptedSpawner(), SystemClock(), 15.0)

    with pytest.raises(PassingFailure, match="was prepared anew while it was read"):
        await store.fetch("m", PreparedMeanwhile(folder, checkpoint))
    assert store.region("m") is None

    await store.fetch("m", IgnoredReports())
    origin = store.origin("m")
    assert origin is not None
    assert origin.layout_id != first.layout_id
    assert not store.is_replaced("m")
    write(folder, checkpoint, value=3)
    assert store.is_replaced("m")
    store.close()


async def test_a_model_is_not_prepared_where_the_host_has_too_little_memory_for_it(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    spec = ModelSpec("m", (f"path:{checkpoint}",), "embedding")
    source, spawner = resolve(spec, tmp_path), ScriptedSpawner()
    limit = MemoryLimit(GIB, GIB - MIB, "/sys/fs/cgroup/job", "memory.max")
    host = HostMemory(GIB, MIB, limit)
    arena = Arena(1 << 20)
    store = SlabStore({"m": spec}, {"m": source}, tmp_path, arena, spawner, SystemClock(), 15.0, lambda: host)
    said = "1 MiB are left of 1.0 GiB, the memory limit in /sys/fs/cgroup/job/memory.max"
    with pytest.raises(WeightsError, match=said):
        await store.fetch("m", IgnoredReports())
    assert spawner.workers == {}
    store.close()


async def test_that_a_model_is_prepared_is_told_as_it_begins(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    spec = ModelSpec("m", (f"path:{checkpoint}",), "embedding")
    source = resolve(spec, tmp_path)
    store = SlabStore({"m": spec}, {"m": source}, tmp_path, Arena(1 << 20), ScriptedSpawner(), SystemClock(), 15.0)
    reports = NotedPreparing()
    with pytest.raises(PassingFailure, match="the script prepares nothing"):
        await store.fetch("m", reports)
    assert reports.shares == [0.0]
    store.close()


COMPANIONS: dict[str, Callable[[Path], object]] = {
    "a tokenizer's": lambda checkpoint: (checkpoint / "tokenizer.json").write_text('{"model": {}}'),
    "pooling": lambda checkpoint: (checkpoint / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}'),
    "generation settings": lambda checkpoint: (checkpoint / "generation_config.json").write_text("{}"),
    "merges of a tokenizer of its own": lambda checkpoint: (checkpoint / "bpe.codes").write_text("a b"),
    "a template": lambda checkpoint: (checkpoint / "chat_template.jinja").write_text("{{ messages }}"),
    "one that is gone": lambda checkpoint: (checkpoint / "spm.model").unlink(),
}


@pytest.mark.parametrize("change", COMPANIONS.values(), ids=COMPANIONS)
async def test_a_companion_that_changes_makes_another_model_of_it(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    (checkpoint / "1_Pooling").mkdir()
    (checkpoint / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    (checkpoint / "spm.model").touch()
    spec = ModelSpec("m", (f"path:{checkpoint}",), "embedding")
    source = resolve(spec, tmp_path)
    folder = prepared_folder(spec, source, tmp_path)
    write(folder, checkpoint, value=1)
    store = SlabStore({"m": spec}, {"m": source}, tmp_path, Arena(1 << 20), ScriptedSpawner(), SystemClock(), 15.0)
    await store.fetch("m", IgnoredReports())
    (checkpoint / "README.md").write_text("a note, which changes nothing")
    assert not store.is_replaced("m")
    assert store.folder("m") == folder

    change(checkpoint)
    assert store.is_replaced("m")
    assert prepared_folder(spec, source, tmp_path) != folder
    (checkpoint / "model.safetensors").unlink()
    assert not store.is_replaced("m")  # there is nothing to make another of
    store.close()
