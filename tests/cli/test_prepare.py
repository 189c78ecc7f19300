"""`citadel prepare`: which models it takes, and what it says when one can't be prepared."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.core.preparation import Building, Built, Order, PrepareNews
from engine.core.sizes import MIB
from tests.cli.conftest import Citadel


async def test_a_model_that_the_catalog_lacks_is_told_by_name(citadel: Citadel) -> None:
    ran = await citadel("prepare", "nobody")
    assert ran.status == 1
    assert "no model is named nobody; the catalog has all-MiniLM-L6-v2" in ran.err


async def test_a_model_whose_source_is_not_there_fails_with_the_remedy(citadel: Citadel, tmp_path: Path) -> None:
    (tmp_path / "model_gpu_mapping.json").write_text(
        '{"models": [{"name": "m", "source": "package:no_such_package", "task": "embedding"}]}'
    )
    (tmp_path / "gpu_allocation.yaml").write_text("")
    ran = await citadel("prepare", "m", "--config", str(tmp_path))
    assert (ran.status, ran.out) == (1, "")
    assert "`pip install no-such-package` installs it" in ran.err


async def test_an_interrupted_one_says_what_is_kept(citadel: Citadel, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def interrupted(_order: Order) -> Iterator[Iterator[PrepareNews]]:
        def news() -> Iterator[PrepareNews]:
            yield Building("all-MiniLM-L6-v2", 0.5)
            raise KeyboardInterrupt

        yield news()

    monkeypatch.setattr("citadel_tui.cli.prepare.preparing", interrupted)
    ran = await citadel("prepare")
    assert (ran.status, ran.out) == (130, "")
    assert "models that were done stay prepared, and nothing half-written is kept" in ran.err


async def test_how_many_matrices_have_fewer_bits_is_told(citadel: Citadel, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def built(_order: Order) -> Iterator[Iterator[PrepareNews]]:
        yield iter([Built("all-MiniLM-L6-v2", 30 * MIB, 2.0, dtype="nf4", smaller_matrices=37)])

    monkeypatch.setattr("citadel_tui.cli.prepare.preparing", built)
    ran = await citadel("prepare", "all-MiniLM-L6-v2")
    assert ran.out == "all-MiniLM-L6-v2: prepared, 30 MiB, 37 matrices in nf4 in 2.00 s\n"


@pytest.mark.parametrize("arguments", [("--check", "--again"), ("--on", "gpu0")])
async def test_wrong_usage_is_told(citadel: Citadel, arguments: tuple[str, ...]) -> None:
    assert (await citadel("prepare", *arguments)).status == 2
