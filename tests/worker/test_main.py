"""An error of CUDA that is not about memory leaves a process that can do nothing more: it answers, and ends."""

from __future__ import annotations

import socket
from pathlib import Path
from queue import SimpleQueue

import pytest
import torch
from transformers import BertModel

from engine.core.models import Limits
from engine.core.sizes import MIB
from engine.core.tasks import Embed
from engine.worker.cuda import CudaBacking
from engine.worker.errors import LONGEST_REASON, StaleLock, in_short
from engine.worker.framing import receive
from engine.worker.main import Worker
from engine.worker.protocol import BROKEN_CONTEXT_STATUS, Bind, Bound, Failure, FromWorker, Run
from engine.worker.residents import Residents
from tests.worker.models import Tier
from tests.worker.scripted_card import ScriptedCard
from tests.worker.small_recipes import SMALL_EMBEDDER, prepare_small


@pytest.mark.parametrize(
    ("error", "kind", "statuses"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), "internal", [BROKEN_CONTEXT_STATUS]),
        (RuntimeError("CUDA error: out of memory"), "out of memory", []),
        (torch.OutOfMemoryError("CUDA out of memory."), "out of memory", []),
        (RuntimeError("shape mismatch"), "internal", []),
        (RuntimeError("CUDA error: invalid argument\nSearch for `cudaErrorInvalidValue'"), "internal", []),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), "internal", []),
        (RuntimeError("CUDA error: part or all of the requested memory range is already mapped"), "internal", []),
        (
            RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors"),
            "internal",
            [BROKEN_CONTEXT_STATUS],
        ),
        (StaleLock("the driver still holds a page-lock"), "internal", [BROKEN_CONTEXT_STATUS]),
        (
            RuntimeError(
                'NVML_SUCCESS == r INTERNAL ASSERT FAILED at "/pytorch/c10/cuda/CUDACachingAllocator.cpp":1131'
            ),
            "out of memory",
            [],
        ),
    ],
    ids=str,
)
def test_a_worker_ends_after_its_answer_when_its_context_is_broken(
    error: Exception,
    kind: str,
    statuses: list[int],
    tier: Tier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    prepared = prepare_small(SMALL_EMBEDDER, tmp_path)
    region = tier.read(prepared)
    ended: SimpleQueue[int] = SimpleQueue()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        residents = Residents(CudaBacking(ScriptedCard(), tier.mapping, 64 * MIB, page_locks=False))
        worker = Worker(residents, theirs, ended.put)
        worker.take(
            Bind(
                1, "m", str(prepared.folder), prepared.layout_id, region.offset, region.length, 0, "embedding", Limits()
            )
        )
        bound = receive(ours, FromWorker)
        with monkeypatch.context() as patched:
            patched.setattr(BertModel, "forward", failing)
            worker.take(Run(2, "m", Embed(("x",))))
            answer = receive(ours, FromWorker)
            if not statuses:  # the next run is answered by the same process
                worker.take(Run(3, "m", Embed(("x",))))
                again = receive(ours, FromWorker)
                assert isinstance(again, Failure)
            assert [ended.get() for _ in statuses] == statuses
            assert ended.empty()
            residents.find("m").lane.close()
    assert isinstance(bound, Bound), bound
    assert isinstance(answer, Failure)
    assert answer.kind == kind


def test_of_a_long_message_of_torchs_people_are_shown_the_first_line() -> None:
    trace = "\n".join(f"frame #{n}: at::native::something" for n in range(200))
    assert in_short(RuntimeError(f"CUDA error: invalid argument\n{trace}")) == "CUDA error: invalid argument"
    assert len(in_short(RuntimeError("x" * 6000))) == LONGEST_REASON
