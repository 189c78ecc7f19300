"""A slab that is written back to the RAM tier equals its file, whatever its model has done meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.weights.errors import BadCheckpoint
from engine.weights.layout import LAYOUT_FILE
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared
from engine.worker.errors import BadRequest
from engine.worker.memory import HostBacking, RamBacking
from engine.worker.residents import bind, unbind, write_slab
from engine.worker.skeleton import Skeleton
from tests.worker.models import EMBEDDING, GENERATION, Tier, filled, prepare_random, run

DEVICE_BYTES = 4 << 20


def in_file(prepared: Prepared) -> bytes:
    return prepared.slab_path.read_bytes()[prepared.data_offset :]


def in_tier(tier: Tier, region: Region) -> bytes:
    return tier.mapping[region.offset : region.offset + region.length]


def elsewhere(tier: Tier, prepared: Prepared) -> Region:
    """A region with other bytes in it."""
    region = tier.arena.allocate(prepared.length)
    assert region is not None
    tier.mapping[region.offset : region.offset + region.length] = b"\xa5" * region.length
    return region


@pytest.mark.parametrize("family", [*EMBEDDING, *GENERATION])
def test_it_equals_its_file_and_the_model_that_is_loaded_from_it_answers_the_same(
    family: str, tier: Tier, tmp_path: Path
) -> None:
    reference, prepared = prepare_random(family, tmp_path)
    backing, skeleton = RamBacking(tier.mapping, DEVICE_BYTES), Skeleton(prepared.folder)
    placement = filled(backing, tier.read(prepared))
    bind(skeleton, placement)
    run(skeleton.module, tokens=40)
    target = elsewhere(tier, prepared)
    window = backing.window(target)

    write_slab(skeleton, placement, window)
    window.close()
    unbind(skeleton)

    assert in_tier(tier, target) == in_file(prepared)
    assert placement.vacate() == 0
    bind(skeleton, filled(backing, target))
    assert torch.equal(run(skeleton.module), run(reference))


def test_buffers_that_a_model_has_changed_are_as_they_were(tier: Tier, tmp_path: Path) -> None:
    _, prepared = prepare_random("phi3-longrope", tmp_path)
    backing, skeleton = RamBacking(tier.mapping, DEVICE_BYTES), Skeleton(prepared.folder)
    placement = filled(backing, tier.read(prepared))
    bind(skeleton, placement)
    before = {path: buffer.clone() for path, buffer in skeleton.module.named_buffers()}
    for buffer in skeleton.module.buffers():
        buffer.add_(1)
    target = elsewhere(tier, prepared)

    write_slab(skeleton, placement, backing.window(target))
    bind(skeleton, filled(backing, target))

    assert before
    assert all(torch.equal(buffer, before[path]) for path, buffer in skeleton.module.named_buffers())


def test_a_model_that_was_prepared_anew_meanwhile_is_not_mixed_with_its_new_file(tier: Tier, tmp_path: Path) -> None:
    _, prepared = prepare_random("bert", tmp_path)
    backing, skeleton = RamBacking(tier.mapping, DEVICE_BYTES), Skeleton(prepared.folder)
    placement = filled(backing, tier.read(prepared))
    layout = prepared.folder / LAYOUT_FILE
    layout.write_text(layout.read_text().replace(prepared.layout.sha256, "0" * 64))

    with pytest.raises(BadCheckpoint, match="was prepared anew since its model was loaded"):
        write_slab(skeleton, placement, backing.window(elsewhere(tier, prepared)))


def test_a_region_of_another_size_is_refused(tier: Tier, tmp_path: Path) -> None:
    _, prepared = prepare_random("bert", tmp_path)
    backing, skeleton = RamBacking(tier.mapping, DEVICE_BYTES), Skeleton(prepared.folder)
    placement = filled(backing, tier.read(prepared))

    with pytest.raises(BadRequest, match="bytes, not 4096"):
        write_slab(skeleton, placement, backing.window(Region(0, 4096)))


def test_the_cpu_has_nothing_to_copy_back(tier: Tier, tmp_path: Path) -> None:
    _, prepared = prepare_random("bert", tmp_path)
    backing, skeleton = HostBacking(tier.mapping, DEVICE_BYTES), Skeleton(prepared.folder)
    placement = filled(backing, tier.read(prepared))

    with pytest.raises(BadRequest, match="the CPU runs from the RAM tier itself"):
        write_slab(skeleton, placement, backing.window(elsewhere(tier, prepared)))
