"""What host RAM that plays a device charges, refuses and quarantines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.weights.shared_memory import Region
from engine.worker.errors import OutOfMemory
from engine.worker.main import backing_for
from engine.worker.memory import HostBacking, RamBacking
from engine.worker.residents import bind, unbind
from engine.worker.skeleton import Skeleton
from tests.worker.models import Tier, filled, prepare_random

MIB = 1 << 20


def test_weights_and_workspace_are_charged_together(tier: Tier) -> None:
    backing = RamBacking(tier.mapping, 8 * MIB)
    placement = backing.place(Region(0, MIB), 2 * MIB)
    assert backing.used_bytes == 3 * MIB
    assert placement.vacate() == 0
    assert backing.used_bytes == 0


@pytest.mark.parametrize("kind", [RamBacking, HostBacking])
def test_a_device_refuses_what_is_over_its_limit_and_keeps_what_it_has(
    kind: type[RamBacking | HostBacking], tier: Tier
) -> None:
    backing = kind(tier.mapping, 4 * MIB)
    backing.place(Region(0, MIB), 2 * MIB)
    with pytest.raises(OutOfMemory, match=r"3 MiB needed.*4 MiB"):
        backing.place(Region(0, MIB), 2 * MIB)
    assert backing.used_bytes == 3 * MIB


def test_a_view_that_is_kept_is_reported_and_its_region_not_used_again(tier: Tier, tmp_path: Path) -> None:
    _, prepared = prepare_random("bert", tmp_path)
    source = tier.read(prepared)
    backing = RamBacking(tier.mapping, Region(0, prepared.length).span_bytes)
    skeleton = Skeleton(prepared.folder)
    placement = filled(backing, source)
    bind(skeleton, placement)
    kept = skeleton.module.get_parameter("embeddings.word_embeddings.weight").detach()[3:5]
    before = kept.clone()
    unbind(skeleton)
    leaked_bytes = placement.vacate()
    assert leaked_bytes == backing.used_bytes > prepared.length - 1
    with pytest.raises(OutOfMemory):
        backing.place(source, 0)
    assert torch.equal(kept, before)
    del kept
    assert backing.used_bytes == 0
    backing.place(source, 0)


def test_a_kept_parameter_holds_nothing(tier: Tier, tmp_path: Path) -> None:
    _, prepared = prepare_random("bert", tmp_path)
    skeleton = Skeleton(prepared.folder)
    placement = RamBacking(tier.mapping, 4 * MIB).place(tier.read(prepared), 0)
    bind(skeleton, placement)
    kept = list(skeleton.module.parameters())
    unbind(skeleton)
    assert placement.vacate() == 0
    assert all(parameter.numel() == 0 for parameter in kept)


def test_a_kept_view_of_the_shared_slab_is_reported(tier: Tier, tmp_path: Path) -> None:
    _, prepared = prepare_random("bert", tmp_path)
    skeleton = Skeleton(prepared.folder)
    placement = HostBacking(tier.mapping, 4 * MIB).place(tier.read(prepared), 0)
    bind(skeleton, placement)
    kept = skeleton.module.get_parameter("pooler.dense.weight")[0]
    unbind(skeleton)
    assert placement.vacate() == prepared.length
    assert kept.numel() == 32


def test_an_unknown_backing_is_refused_by_name(tier: Tier) -> None:
    with pytest.raises(ValueError, match="no backing 'tpu:0'"):
        backing_for("tpu:0", tier.mapping, MIB)
