"""The simulated box, effect by effect: disk 0.5 GB/s, links 3 GB/s, models of 3 GB."""

from __future__ import annotations

import math

import pytest

from engine.core.names import CPU
from engine.core.sizes import GB
from engine.replay.box import Box
from engine.scheduler.effects import (
    BindModel,
    KillWorker,
    ReadSlab,
    ReleaseModel,
    StartWorker,
    StopReading,
    StopVerifying,
    VerifySlab,
    WriteBackSlab,
)
from engine.scheduler.messages import (
    BindFailed,
    LeaseEnded,
    Message,
    ModelBound,
    SlabFailed,
    SlabNotWrittenBack,
    SlabRead,
    SlabVerified,
    SlabWrittenBack,
    WorkerDown,
)
from engine.simulation.compute import Compute
from engine.simulation.machine import SimulatedBox, SimulatedRun


@pytest.fixture
def machine() -> SimulatedBox:
    """With its workers up."""
    machine = SimulatedBox(Box(), Compute(), dict.fromkeys("ab", 3 * GB))
    for device in ("gpu0", CPU):
        machine.perform(StartWorker(device), 0.0)
        machine.take()
    return machine


def reports(machine: SimulatedBox) -> list[tuple[float, Message]]:
    """All that is still to come, with its time."""
    told = []
    while (now_s := machine.next_s) < math.inf:
        if report := machine.take():
            told.append((now_s, report))
    return told


def kinds(machine: SimulatedBox) -> list[tuple[float, type[Message]]]:
    return [(now_s, type(report)) for now_s, report in reports(machine)]


def test_a_slab_is_found_whole_at_once_and_once(machine: SimulatedBox) -> None:
    machine.perform(VerifySlab("a"), 1.0)
    machine.perform(StopVerifying("a"), 1.0)

    assert reports(machine) == [(1.0, SlabVerified("a", "whole", "a.safetensors"))]


def test_a_copy_behind_a_reading_ends_with_it(machine: SimulatedBox) -> None:
    machine.perform(ReadSlab("a"), 0.0)
    machine.take()
    machine.perform(BindModel("a", "gpu0", 0), 0.0)

    assert kinds(machine) == [(6.0, SlabRead), (6.0, ModelBound)]
    assert (machine.moved.from_disk_bytes, machine.moved.to_gpu_bytes) == (3 * GB, 3 * GB)


def test_copies_to_one_device_share_its_link(machine: SimulatedBox) -> None:
    machine.perform(BindModel("a", "gpu0", 0), 0.0)
    machine.perform(BindModel("b", "gpu0", 0), 0.0)

    assert kinds(machine) == [(2.0, ModelBound), (2.0, ModelBound)]


def test_the_cpu_runs_from_the_slab_itself(machine: SimulatedBox) -> None:
    machine.perform(BindModel("a", CPU, 0), 5.0)

    assert kinds(machine) == [(5.0, ModelBound)]
    assert machine.moved.to_gpu_bytes == 0


def test_a_reading_that_is_given_up_ends_the_copy_behind_it(machine: SimulatedBox) -> None:
    machine.perform(ReadSlab("a"), 0.0)
    machine.take()
    machine.perform(BindModel("a", "gpu0", 0), 0.0)
    machine.perform(StopReading("a"), 0.5)

    assert kinds(machine) == [(0.5, SlabFailed), (0.5, BindFailed)]


def test_a_copy_that_has_caught_up_ends_too_when_the_reading_is_given_up(machine: SimulatedBox) -> None:
    machine.perform(ReadSlab("a"), 0.0)
    machine.take()
    machine.perform(BindModel("a", "gpu0", 0), 0.0)
    assert machine.take() is None

    machine.perform(StopReading("a"), 2.0)

    assert kinds(machine) == [(2.0, SlabFailed), (2.0, BindFailed)]


def test_it_is_too_late_to_give_up_a_reading_that_has_ended(machine: SimulatedBox) -> None:
    machine.perform(ReadSlab("a"), 0.0)
    reports(machine)
    machine.perform(StopReading("a"), 7.0)

    assert reports(machine) == []


def test_a_copy_back_takes_nothing_from_the_copies_the_other_way(machine: SimulatedBox) -> None:
    machine.perform(BindModel("a", "gpu0", 0), 0.0)
    machine.perform(WriteBackSlab("b", "gpu0", 3 * GB), 0.0)

    assert sorted(kinds(machine), key=str) == [(1.0, ModelBound), (1.0, SlabWrittenBack)]
    assert (machine.moved.to_gpu_bytes, machine.moved.to_ram_bytes) == (3 * GB, 3 * GB)


def test_what_a_killed_worker_was_writing_back_does_not_come(machine: SimulatedBox) -> None:
    machine.perform(WriteBackSlab("a", "gpu0", 3 * GB), 0.0)
    machine.perform(KillWorker("gpu0"), 0.5)

    assert reports(machine)[0] == (0.5, SlabNotWrittenBack("a"))
    assert machine.moved.to_ram_bytes == 0


def test_a_killed_worker_reports_nothing_of_what_it_was_doing(machine: SimulatedBox) -> None:
    machine.perform(BindModel("a", "gpu0", 0), 0.0)
    machine.take()
    machine.run("gpu0", "a", SimulatedRun(1, 10.0), 1.0)
    machine.perform(BindModel("b", "gpu0", 0), 1.0)
    machine.perform(KillWorker("gpu0"), 1.5)

    assert kinds(machine) == [(1.5, WorkerDown)]


def test_a_model_runs_one_request_at_a_time(machine: SimulatedBox) -> None:
    machine.run("gpu0", "a", SimulatedRun(1, 2.0), 0.0)
    machine.run("gpu0", "a", SimulatedRun(2, 2.0), 0.0)

    assert reports(machine) == [(2.0, LeaseEnded(1, 2.0)), (4.0, LeaseEnded(2, 2.0))]


def test_the_cpu_takes_longer(machine: SimulatedBox) -> None:
    machine.run(CPU, "a", SimulatedRun(1, 2.0), 0.0)

    assert reports(machine) == [(16.0, LeaseEnded(1, 16.0))]


def test_a_release_tells_what_the_device_still_holds(machine: SimulatedBox) -> None:
    for model in "ab":
        machine.perform(BindModel(model, "gpu0", 0), 0.0)
    reports(machine)
    machine.perform(ReleaseModel("a", "gpu0"), 3.0)

    [(_, released)] = reports(machine)
    assert getattr(released, "used_bytes", None) == 3 * GB


def test_what_is_read_before_anybody_waits_is_told_apart_from_what_a_load_waits_for(machine: SimulatedBox) -> None:
    machine.perform(ReadSlab("a", ahead=True), 0.0)
    machine.take()
    machine.perform(BindModel("a", "gpu0", 0), 2.0)
    reports(machine)
    assert (machine.moved.ahead_bytes, machine.moved.from_disk_bytes) == (1 * GB, 3 * GB)

    machine.perform(ReadSlab("b", ahead=True), 10.0)
    machine.take()
    machine.perform(StopReading("b"), 11.0)
    reports(machine)
    assert (machine.moved.ahead_bytes, machine.moved.from_disk_bytes) == (1.5 * GB, 3.5 * GB)
