"""What the page cache holds of a file, and bringing it there and away."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from engine.bench.page_cache import PageCache
from engine.bench.records import NotMeasured
from engine.weights.errors import WeightsError
from engine.weights.page_cache import cached_share


@pytest.fixture
def slab(tmp_path: Path) -> Path:
    path = tmp_path / "slab"
    path.write_bytes(bytes(1 << 20))
    return path


def test_a_file_that_was_just_written_is_in_the_page_cache(slab: Path) -> None:
    assert cached_share(slab) == 1.0


def test_a_dropped_file_is_cold_and_a_warmed_one_is_whole(slab: Path) -> None:
    cache = PageCache(lambda _: slab)
    try:
        cache.drop("m")
    except NotMeasured:
        pytest.skip("the tests' folder lies in memory, where no file is ever cold")
    assert cached_share(slab) == 0.0
    cache.warm("m")
    assert cached_share(slab) == 1.0


def test_a_file_that_the_kernel_keeps_is_not_called_cold(tmp_path: Path) -> None:
    slab = tmp_path / "slab"
    slab.write_bytes(bytes(1 << 20))
    with slab.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        assert mapping[0] == 0  # a page that somebody has mapped stays
        with pytest.raises(NotMeasured, match=r"the kernel keeps \d+% of its slab in memory"):
            PageCache(lambda _: slab).drop("m")


def test_a_slab_that_is_not_there_is_told(tmp_path: Path) -> None:
    def missing(model: str) -> Path:
        raise WeightsError(f"{model} is not prepared")

    with pytest.raises(NotMeasured, match="can't be found from here: m is not prepared"):
        PageCache(missing).drop("m")
