"""What a run does when memory lacks, and what is learned of one that has enough."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import get_args

import pytest
import torch
from transformers import BertModel

from engine.core.models import Limits
from engine.core.sizes import MIB
from engine.core.tasks import Embed, Generate, TaskKind
from engine.weights.slab import Prepared
from engine.worker.cuda import CudaBacking
from engine.worker.errors import OutOfMemory
from engine.worker.lanes import Lane
from engine.worker.protocol import Bind, Release
from engine.worker.residents import Residents
from engine.worker.runners import SUPPORT
from engine.worker.running import HOST_RUNS, in_parts, is_shortage, once_more
from tests.worker.lanes import embedded_in, ran_in
from tests.worker.models import Tier
from tests.worker.scripted_card import CONTEXT_BYTES, ScriptedCard
from tests.worker.small_recipes import SMALL_EMBEDDER, SMALL_GENERATOR, prepare_small

LIMIT_BYTES = 64 * MIB


class Narrow:
    """A module whose runs need memory for each row and find it for `room` rows; `tries` keeps how many rows came."""

    def __init__(self, module: torch.nn.Module, room: int) -> None:
        self.tries: list[int] = []
        self.room = room
        module.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, _: torch.nn.Module, __: tuple[object, ...], inputs: dict[str, torch.Tensor]) -> None:
        rows = len(inputs["input_ids"])
        self.tries.append(rows)
        if rows > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.fixture
def card() -> ScriptedCard:
    return ScriptedCard()


@pytest.fixture
def backing(card: ScriptedCard, tier: Tier) -> CudaBacking:
    return CudaBacking(card, tier.mapping, LIMIT_BYTES, page_locks=False)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return prepare_small(SMALL_EMBEDDER, tmp_path)


def binding(prepared: Prepared, tier: Tier, task: TaskKind = "embedding") -> Bind:
    region = tier.read(prepared)
    limits = Limits(max_batch=8, max_sequence=32)
    return Bind(1, "m", str(prepared.folder), prepared.layout_id, region.offset, region.length, MIB, task, limits)


def bound_lane(residents: Residents, prepared: Prepared, tier: Tier, task: TaskKind = "embedding") -> Lane:
    residents.bind(binding(prepared, tier, task))
    return residents.find("m").lane


def test_every_kind_of_task_can_be_loaded_and_run() -> None:
    assert set(SUPPORT) == set(get_args(TaskKind))


def test_a_run_that_finds_too_little_gives_back_what_is_unused_and_runs_again(card: ScriptedCard) -> None:
    runs = iter([torch.OutOfMemoryError("CUDA out of memory."), None])

    def run() -> str:
        if error := next(runs):
            raise error
        return "done"

    backing = CudaBacking(card, Tier(4096).mapping, LIMIT_BYTES, page_locks=False)
    assert once_more(run, backing.runs) == "done"
    assert card.events == ["collect"]


def test_what_a_failed_run_held_is_gone_before_the_next_try() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def run() -> None:
        assert all(tensor() is None for tensor in held)
        activations = torch.zeros(8)
        held.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    assert once_more(run, HOST_RUNS) is None
    assert len(held) == 2


def test_a_batch_is_halved_until_it_fits_and_keeps_its_order() -> None:
    tries: list[list[int]] = []

    def run(rows: list[int]) -> list[int]:
        tries.append(rows)
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return [10 * row for row in rows]

    assert list(in_parts([1, 2, 3, 4, 5], run, HOST_RUNS)) == [([1, 2], [10, 20]), ([3], [30]), ([4, 5], [40, 50])]
    assert [len(rows) for rows in tries] == [5, 5, 2, 3, 3, 1, 2]


def test_an_error_that_is_no_shortage_is_not_tried_again() -> None:
    tries: list[int] = []

    def run() -> None:
        tries.append(1)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        once_more(run, HOST_RUNS)
    assert len(tries) == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_a_shortage_is_known_by_its_class_or_its_words(error: RuntimeError) -> None:
    assert is_shortage(error)


def test_embeddings_made_in_parts_are_the_embeddings(
    card: ScriptedCard, backing: CudaBacking, prepared: Prepared, tier: Tier
) -> None:
    residents = Residents(backing)
    lane = bound_lane(residents, prepared, tier)
    texts = [f"text number {n}" for n in range(6)]
    whole = embedded_in(ran_in(lane, Embed(tuple(texts)))).vectors
    narrow = Narrow(residents.find("m").skeleton.module, room=2)
    assert torch.allclose(embedded_in(ran_in(lane, Embed(tuple(texts)))).vectors, whole, atol=1e-6)
    assert narrow.tries == [6, 6, 3, 3, 1, 2, 3, 3, 1, 2]
    assert card.events.count("collect") == 6


def test_one_text_that_is_too_much_is_refused_with_figures_and_the_model_stays(
    card: ScriptedCard, backing: CudaBacking, prepared: Prepared, tier: Tier
) -> None:
    residents = Residents(backing)
    lane = bound_lane(residents, prepared, tier)
    narrow = Narrow(residents.find("m").skeleton.module, room=0)
    with pytest.raises(OutOfMemory, match=r"a run of 1 .* 13 MiB of this device's 64 MiB are in use; the whole card"):
        ran_in(lane, Embed(("one", "two")))
    assert narrow.tries == [2, 2, 1, 1]
    narrow.room = 1
    assert len(embedded_in(ran_in(lane, Embed(("one",)))).vectors) == 1
    assert card.activations_bytes == 0


def test_a_load_whose_first_run_finds_too_little_leaves_the_device_as_it_was(
    backing: CudaBacking, prepared: Prepared, tier: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    residents = Residents(backing)
    request = binding(prepared, tier)
    with monkeypatch.context() as patched:
        patched.setattr(BertModel, "forward", starved)
        with pytest.raises(OutOfMemory):
            residents.bind(request)
    assert backing.used_bytes == CONTEXT_BYTES
    assert residents.bind(request).used_bytes > CONTEXT_BYTES


def test_generation_runs_once_more_and_then_refuses(
    card: ScriptedCard, backing: CudaBacking, tier: Tier, tmp_path: Path
) -> None:
    residents = Residents(backing)
    lane = bound_lane(residents, prepare_small(SMALL_GENERATOR, tmp_path), tier, "generation")
    assert ran_in(lane, Generate("abc", 2)).filled > 0
    narrow = Narrow(residents.find("m").skeleton.module, room=0)
    with pytest.raises(OutOfMemory, match="a run of 1 at once found too little"):
        ran_in(lane, Generate("abc", 2))
    assert narrow.tries == [1, 1]
    assert card.events.count("collect") == 2


def test_replies_tell_what_the_card_says_and_that_there_is_a_context(
    card: ScriptedCard, backing: CudaBacking, prepared: Prepared, tier: Tier
) -> None:
    residents = Residents(backing)
    bound = residents.bind(binding(prepared, tier))
    assert bound.card is not None
    assert bound.card.free_bytes == card.total_bytes - bound.used_bytes
    released = residents.release(Release(2, "m"))
    assert released.card is not None
    assert (released.used_bytes, released.leaked_bytes) == (CONTEXT_BYTES, 0)
    assert released.card.free_bytes == card.total_bytes - CONTEXT_BYTES


def test_a_run_that_is_alone_is_measured(card: ScriptedCard, backing: CudaBacking) -> None:
    card.peak_of_run_bytes = 5 * MIB
    with backing.runs.measure() as took:
        pass
    assert took.workspace_bytes == 5 * MIB


def test_runs_that_overlap_are_not_measured(backing: CudaBacking) -> None:
    with backing.runs.measure() as first, backing.runs.measure() as second:
        pass
    assert (first.workspace_bytes, second.workspace_bytes) == (None, None)
    with backing.runs.measure() as third:
        pass
    assert third.workspace_bytes == 0


def test_a_run_during_a_load_is_not_measured(backing: CudaBacking, prepared: Prepared, tier: Tier) -> None:
    with backing.runs.measure() as took:
        backing.place(tier.read(prepared), 0)
    assert took.workspace_bytes is None


def test_host_ram_measures_nothing() -> None:
    with HOST_RUNS.measure() as took:
        pass
    assert took.workspace_bytes is None
