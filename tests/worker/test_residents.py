"""Models that come to a device and leave it; slabs that are written back equal their files, whatever has run meanwhile."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.core.models import Limits
from engine.core.serialization import to_sealed_json
from engine.core.tasks import Embed
from engine.weights.errors import BadCheckpoint
from engine.weights.layout import LAYOUT_FILE
from engine.weights.recipes import RECIPES
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared
from engine.worker.convert import build, prepare
from engine.worker.errors import BadRequest, NotResident, SlabReplaced
from engine.worker.memory import HostBacking, RamBacking
from engine.worker.protocol import Bind, Prepare, Release, WriteBack
from engine.worker.residents import Residents, bind, unbind, write_slab
from engine.worker.skeleton import Skeleton
from engine.worker.synthetic import make
from tests.worker.lanes import ran_in
from tests.worker.models import EMBEDDING, GENERATION, SMALL, Tier, filled, prepare_random, run

MIB = 1 << 20
WORKSPACE_BYTES = MIB
DEVICE_BYTES = 4 * MIB


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    recipe = RECIPES["e5-small"]
    make(msgspec.structs.replace(recipe, config=recipe.config | SMALL | {"vocab_size": 300}), tmp_path / "checkpoint")
    folders = str(tmp_path / "checkpoint"), str(tmp_path / "m")
    return prepare(Prepare(1, "m", "path:x", *folders, "embedding", "float32", None), lambda _: None)


@pytest.fixture
def backing(tier: Tier) -> RamBacking:
    return RamBacking(tier.mapping, 16 * MIB)


def binding(prepared: Prepared, region: Region) -> Bind:
    made = (str(prepared.folder), prepared.layout_id)
    place = (region.offset, region.length, WORKSPACE_BYTES)
    return Bind(1, "m", *made, *place, "embedding", Limits())


def test_times_and_bytes_of_a_load_are_told(prepared: Prepared, tier: Tier, backing: RamBacking) -> None:
    bound = Residents(backing).bind(binding(prepared, tier.read(prepared)))
    assert bound.used_bytes == backing.used_bytes >= prepared.length + WORKSPACE_BYTES
    assert min(bound.copy_s, bound.bind_s, bound.warm_s) > 0


def test_other_limits_hold_from_the_next_load_on(prepared: Prepared, tier: Tier, backing: RamBacking) -> None:
    residents = Residents(backing)
    request = binding(prepared, tier.read(prepared))
    text = Embed(("a cat a cat a cat a cat",))
    residents.bind(request)
    ran_in(residents.find("m").lane, text)
    residents.release(Release(2, "m"))

    residents.bind(msgspec.structs.replace(request, limits=Limits(max_sequence=4)))

    with pytest.raises(BadRequest, match="the limit is 4"):
        ran_in(residents.find("m").lane, text)
    residents.release(Release(3, "m"))


def test_a_release_tells_what_somebody_still_holds(prepared: Prepared, tier: Tier, backing: RamBacking) -> None:
    residents = Residents(backing)
    residents.bind(binding(prepared, tier.read(prepared)))
    module = residents.find("m").skeleton.module
    kept = module.get_parameter("pooler.dense.weight").detach()
    del module
    released = residents.release(Release(2, "m"))
    assert released.leaked_bytes == released.used_bytes > 0
    del kept
    assert backing.used_bytes == 0


def test_a_load_that_fails_leaves_the_device_as_it_was(prepared: Prepared, tier: Tier, backing: RamBacking) -> None:
    residents = Residents(backing)
    source = tier.read(prepared)
    (prepared.folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "median"}')
    with pytest.raises(BadCheckpoint, match="pooling_mode is 'median'"):
        residents.bind(binding(prepared, source))
    assert backing.used_bytes == 0
    with pytest.raises(NotResident):
        residents.find("m")


class Mute(RamBacking):
    """A device that can't say what it holds, as a card after an error of CUDA."""

    is_mute = True

    @property
    def used_bytes(self) -> int:
        if self.is_mute:
            raise RuntimeError("no figures")
        return super().used_bytes


def test_a_load_that_fails_at_its_very_end_can_be_tried_again(prepared: Prepared, tier: Tier) -> None:
    backing = Mute(tier.mapping, 16 * MIB)
    residents = Residents(backing)
    source = tier.read(prepared)
    with pytest.raises(RuntimeError, match="no figures"):
        residents.bind(binding(prepared, source))
    backing.is_mute = False
    assert backing.used_bytes == 0
    with pytest.raises(NotResident):
        residents.find("m")
    residents.bind(binding(prepared, source))


def prepare_anew(prepared: Prepared) -> Prepared:
    """The same model, of a source that has changed: as many bytes, others, in a layout of its own."""
    checkpoint = prepared.folder.with_name("checkpoint")
    weights = load_file(checkpoint / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, checkpoint / "model.safetensors")
    folders = str(checkpoint), str(prepared.folder)
    return build(Prepare(1, "m", "path:x", *folders, "embedding", "float32", None), lambda _: None)


def test_a_folder_that_was_prepared_anew_is_never_bound_to_the_bytes_of_before(
    prepared: Prepared, tier: Tier, backing: RamBacking
) -> None:
    before = tier.read(prepared)
    again = prepare_anew(prepared)
    assert (again.length, again.layout_id != prepared.layout_id) == (prepared.length, True)
    with pytest.raises(SlabReplaced, match="was prepared anew since the slab of m was read"):
        Residents(backing).bind(binding(prepared, before))
    assert backing.used_bytes == 0


def test_a_worker_that_knows_a_model_learns_its_new_layout(prepared: Prepared, tier: Tier, backing: RamBacking) -> None:
    residents = Residents(backing)
    residents.bind(binding(prepared, tier.read(prepared)))
    first = residents.find("m").skeleton
    residents.release(Release(2, "m"))
    again = prepare_anew(prepared)
    residents.bind(binding(again, tier.read(again)))
    second = residents.find("m").skeleton
    assert second is not first
    assert second.layout_id == again.layout_id


def dense_layer(residents: Residents) -> torch.nn.Linear:
    dense = residents.find("m").skeleton.module.get_submodule("pooler.dense")
    assert isinstance(dense, torch.nn.Linear)
    return dense


def test_what_runs_changed_of_modules_is_put_back_once_their_model_has_left(
    prepared: Prepared, tier: Tier, backing: RamBacking
) -> None:
    residents, source = Residents(backing), tier.read(prepared)
    residents.bind(binding(prepared, source))
    dense = dense_layer(residents)
    built = dense.in_features
    dense.in_features = 1
    residents.tidy()
    assert dense.in_features == 1
    residents.release(Release(2, "m"))
    residents.tidy()
    assert dense.in_features == built


def test_a_model_that_comes_back_before_that_is_as_it_was_built(
    prepared: Prepared, tier: Tier, backing: RamBacking
) -> None:
    residents, source = Residents(backing), tier.read(prepared)
    residents.bind(binding(prepared, source))
    dense = dense_layer(residents)
    built = dense.in_features
    dense.in_features = 1
    residents.release(Release(2, "m"))
    residents.bind(binding(prepared, source))
    assert dense.in_features == built


def test_a_slab_that_is_copied_back_can_be_bound_again_and_its_model_stays_meanwhile(
    prepared: Prepared, tier: Tier, backing: RamBacking
) -> None:
    residents = Residents(backing)
    source, target = tier.read(prepared), tier.arena.allocate(prepared.length)
    assert target is not None
    residents.bind(binding(prepared, source))
    answer = residents.write_back(WriteBack(2, "m", target.offset, target.length))
    assert (answer.id, answer.copy_s > 0) == (2, True)
    residents.find("m")
    slab = tier.mapping[source.offset : source.offset + source.length]
    assert tier.mapping[target.offset : target.offset + target.length] == slab
    residents.release(Release(3, "m"))
    assert residents.bind(binding(prepared, target)).used_bytes == backing.used_bytes


def test_what_is_not_there_can_not_be_copied_back(backing: RamBacking) -> None:
    with pytest.raises(NotResident, match="nobody is not on this device"):
        Residents(backing).write_back(WriteBack(1, "nobody", 0, 4096))


def test_what_is_not_there_can_not_be_released(backing: RamBacking) -> None:
    with pytest.raises(NotResident, match="nobody is not on this device"):
        Residents(backing).release(Release(1, "nobody"))


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
    (prepared.folder / LAYOUT_FILE).write_bytes(
        to_sealed_json(msgspec.structs.replace(prepared.layout, sha256="0" * 64))
    )

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
