"""Each submission is carried out once and answered once, however often it is handed in."""

from __future__ import annotations

from engine.core.commands import Load, Submission
from engine.core.records import Switch
from engine.scheduler.commands import REMEMBERED_ANSWERS
from engine.scheduler.messages import Submit
from tests.core.boxes import box, with_resident
from tests.scheduler.scripted_world import World


def test_a_resend_of_the_same_id_does_nothing_twice_and_gets_the_same_answer() -> None:
    world = World(box({"a": 60}))
    world.send(Submit(Submission("same", Load("a"))))
    world.send(Submit(Submission("same", Load("a"))))
    world.settle()
    answer = world.answers.pop("same")

    world.send(Submit(Submission("same", Load("a"))))

    assert world.answers["same"] is answer
    assert sum(isinstance(e, Switch) for e in world.written) == 1


def test_only_the_newest_answers_are_remembered() -> None:
    world = World(with_resident(box({"a": 60}), "a", "gpu0"))
    for number in range(REMEMBERED_ANSWERS + 1):
        world.send(Submit(Submission(str(number), Load("a"))))
    kept, forgotten = world.answers.pop("1"), world.answers.pop("0")

    world.send(Submit(Submission("1", Load("a"))))
    world.send(Submit(Submission("0", Load("a"))))

    assert world.answers["1"] is kept
    assert world.answers["0"] is not forgotten
