"""What every kind of device memory promises: host RAM, the CPU's, a scripted card, and a real one where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.core.sizes import MIB
from engine.weights.layout import SlabEntry
from engine.weights.shared_memory import Region
from engine.weights.slab import Prepared
from engine.worker.cuda import CudaBacking
from engine.worker.cuda_device import ONLY_CARD
from engine.worker.errors import OutOfMemory
from engine.worker.main import backing_for
from engine.worker.memory import Backing
from engine.worker.residents import bind, unbind
from engine.worker.skeleton import Skeleton
from tests.worker.available_card import slice_of_a_card
from tests.worker.models import Tier, filled, prepare_random, run
from tests.worker.scripted_card import ScriptedCard

LIMIT_BYTES = 8 * MIB
SCRIPTED_LIMIT_BYTES = 64 * MIB
CARD_LIMIT_BYTES = 2048 * MIB
"""Of a real card, whose context alone takes some hundred MiB."""

OF_ITS_OWN = ["ram", "scripted card", pytest.param(ONLY_CARD, marks=pytest.mark.gpu)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare_random("bert", tmp_path_factory.mktemp("models"))[1]


@pytest.fixture
def backing(request: pytest.FixtureRequest, tier: Tier) -> Iterator[Backing]:
    if request.param == ONLY_CARD:
        with slice_of_a_card(tier, CARD_LIMIT_BYTES) as backing:
            yield opened(backing)
    elif request.param == "scripted card":
        yield opened(CudaBacking(ScriptedCard(), tier.mapping, SCRIPTED_LIMIT_BYTES, page_locks=True))
    else:
        yield backing_for(request.param, tier.mapping, LIMIT_BYTES)


def opened(backing: CudaBacking) -> CudaBacking:
    """What it uses is what it uses with nothing loaded."""
    backing.place(Region(0, MIB), 0).vacate()
    backing.unlock(Region(0, MIB))
    return backing


@pytest.mark.parametrize("backing", ["host", *OF_ITS_OWN], indirect=True)
def test_a_slab_is_there_byte_for_byte_and_its_memory_comes_back(backing: Backing, tier: Tier) -> None:
    source = tier.arena.allocate(3 * MIB)
    assert source is not None
    tier.mapping[source.offset : source.offset + 8] = b"citadel!"
    empty_bytes = backing.used_bytes
    placement = filled(backing, source, MIB)
    assert backing.used_bytes > empty_bytes
    entry = SlabEntry("x", "parameter", "U8", (8,), (1,), 8, offset=0)
    assert bytes(placement.tensor(entry).tolist()) == b"citadel!"
    assert placement.vacate() == 0
    assert backing.used_bytes == empty_bytes


@pytest.mark.parametrize("backing", OF_ITS_OWN, indirect=True)
def test_a_slab_does_not_change_when_its_place_in_the_ram_tier_is_used_again(backing: Backing, tier: Tier) -> None:
    tier.mapping[:4] = b"abcd"
    placement = filled(backing, Region(0, 4096))
    backing.unlock(Region(0, 4096))
    tier.mapping[:4] = b"efgh"
    entry = SlabEntry("x", "parameter", "U8", (4,), (1,), 4, offset=0)
    assert bytes(placement.tensor(entry).tolist()) == b"abcd"


@pytest.mark.parametrize("backing", ["host", *OF_ITS_OWN], indirect=True)
def test_what_is_over_the_limit_is_refused_with_figures_and_the_rest_stays(backing: Backing, tier: Tier) -> None:
    backing.place(Region(0, MIB), MIB)
    used_bytes = backing.used_bytes
    with pytest.raises(OutOfMemory, match=r"out of memory: .* needed, .* of .* free"):
        backing.place(Region(0, MIB), CARD_LIMIT_BYTES)
    assert backing.used_bytes == used_bytes


@pytest.mark.parametrize("backing", OF_ITS_OWN, indirect=True)
def test_a_view_that_is_kept_is_reported_and_its_memory_comes_back_with_it(
    backing: Backing, tier: Tier, prepared: Prepared
) -> None:
    empty_bytes = backing.used_bytes
    skeleton = Skeleton(prepared.folder)
    placement = filled(backing, tier.read(prepared))
    bind(skeleton, placement)
    kept = skeleton.module.get_parameter("embeddings.word_embeddings.weight").detach()[3:5]
    before = kept.cpu().clone()
    unbind(skeleton)
    assert placement.vacate() == Region(0, prepared.length).span_bytes
    assert backing.used_bytes > empty_bytes
    assert torch.equal(kept.cpu(), before)
    del kept
    assert backing.used_bytes == empty_bytes


@pytest.mark.parametrize("backing", ["host", *OF_ITS_OWN], indirect=True)
@pytest.mark.parametrize("family", ["bert", "phi3-longrope"])
def test_models_come_and_go_and_answer_the_same(family: str, backing: Backing, tier: Tier, tmp_path: Path) -> None:
    _, made = prepare_random(family, tmp_path)
    empty_bytes = backing.used_bytes
    skeleton, source = Skeleton(made.folder), tier.read(made)
    answers = []
    for _ in range(3):
        placement = filled(backing, source)
        bind(skeleton, placement)
        answers.append(run(skeleton.module, tokens=40).cpu())
        unbind(skeleton)
        assert placement.vacate() == 0
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])
    skeleton.reset()
    assert backing.used_bytes <= empty_bytes + 64 * MIB  # a real card's libraries keep some for the process's life


@pytest.mark.parametrize("backing", OF_ITS_OWN, indirect=True)
def test_a_slab_comes_back_to_the_ram_tier_byte_for_byte_and_holds_nothing(backing: Backing, tier: Tier) -> None:
    source, target = tier.arena.allocate(3 * MIB), tier.arena.allocate(3 * MIB)
    assert source is not None
    assert target is not None
    tier.mapping[source.offset : source.offset + 8] = b"citadel!"
    tier.mapping[source.offset + source.length - 1] = 7
    slab = tier.mapping[source.offset : source.offset + source.length]
    placement = filled(backing, source)
    window = backing.window(target)
    placement.write_back(window)
    window.close()

    assert tier.mapping[target.offset : target.offset + target.length] == slab
    assert not window.is_held
    assert placement.vacate() == 0
    for region in (source, target):
        backing.unlock(region)
