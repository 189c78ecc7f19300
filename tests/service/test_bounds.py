"""What is too large, too long or too much is refused with the bound in the sentence, and nothing is kept of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engine.api import BadRequest, Done, EngineAPI, Overloaded, Unfit, UnknownModel
from engine.core.commands import (
    MOST_COMMANDS,
    MOST_ID,
    MOST_NAME,
    MOST_TITLE,
    OWN_IDS,
    Batch,
    Evict,
    Load,
    Submission,
    Unpin,
)
from engine.core.tasks import MOST_CHARACTERS, MOST_NUMBER, MOST_ROWS, Embed, Generate
from engine.paths import Paths
from engine.runtime.submissions import MOST_UNDER_WAY, Submissions
from tests.service.test_contract import SMALL, _real, _real_over_the_socket


@pytest.fixture(params=["in this process", "over the socket"])
async def api(request: pytest.FixtureRequest, paths: Paths) -> AsyncIterator[EngineAPI]:
    opener = _real if request.param == "in this process" else _real_over_the_socket
    async with opener(paths) as engine:
        yield engine


async def test_another_command_under_the_same_id_is_refused_and_does_nothing(api: EngineAPI) -> None:
    assert isinstance(await api.submit(Submission("one", Load(SMALL))), Done)

    with pytest.raises(BadRequest, match=f"the id one was given to another command, load {SMALL}; nothing was done"):
        await api.submit(Submission("one", Evict(SMALL)))

    assert (await api.snapshot()).state.of(SMALL)


async def test_a_client_that_took_the_ids_of_the_engine_s_own_commands_stands_in_nobody_s_way(api: EngineAPI) -> None:
    for number in range(1, 6):
        await api.submit(Submission(f"request-{number}", Unpin(SMALL)))
    with pytest.raises(BadRequest, match=f"does not begin with {OWN_IDS}"):
        await api.submit(Submission(f"{OWN_IDS}request-1", Unpin(SMALL)))

    assert (await api.embed(SMALL, ["a"])).vectors


@pytest.mark.parametrize(
    ("submission", "bound"),
    [
        (Submission("i" * 1_000_000, Load(SMALL)), f"1 to {MOST_ID} printable characters"),
        (Submission("", Load(SMALL)), f"1 to {MOST_ID} printable characters"),
        (Submission("\x1b[2J", Load(SMALL)), r"printable characters.*\\u001b\[2J is none"),
        (Submission("x", Load("m" * 1_000_000)), f"a name has at most {MOST_NAME} characters, m+… has 1000000"),
        (Submission("x", Load(SMALL, "g" * 1_000_000)), f"a name has at most {MOST_NAME} characters"),
        (Submission("x", Load(SMALL), confirmed="y" * 1_000_000), "confirmed has at most 131072 characters"),
        (Submission("x", Batch("t" * 1_000_000, ())), f"title has at most {MOST_TITLE} characters"),
        (Submission("x", Batch("\u202etxet", ())), r"title has .* printable; \\u202etxet is not"),
        (
            Submission("x", Batch("many", (Load(SMALL), Evict(SMALL)) * 10_000)),
            f"a batch has at most {MOST_COMMANDS} commands, this one has 20000",
        ),
    ],
    ids=["long id", "no id", "control characters", "long model", "long device", "confirmed", "title", "bidi", "batch"],
)
async def test_a_command_beyond_a_bound_is_refused_by_it_and_leaves_no_trace(
    api: EngineAPI, submission: Submission, bound: str
) -> None:
    records = len(await api.records(1000))

    with pytest.raises(BadRequest, match=bound) as refused:
        await api.submit(submission)

    assert len(str(refused.value)) < 500
    assert len(await api.records(1000)) == records
    if not submission.confirmed and submission.id == "x":
        with pytest.raises(BadRequest, match=bound):
            await api.plan(submission.command)


async def test_a_name_of_a_million_characters_is_unknown_in_one_short_sentence(api: EngineAPI) -> None:
    with pytest.raises(UnknownModel) as unknown:
        await api.embed("m" * 1_000_000, ["a"])

    assert len(str(unknown.value)) < 500


async def test_requests_have_bounds_too(api: EngineAPI) -> None:
    with pytest.raises(Unfit, match=f"at most {MOST_ROWS} texts, this one has {MOST_ROWS + 1}"):
        await api.result(SMALL, Embed(("",) * (MOST_ROWS + 1)))
    for beyond in (
        Embed((), tokens=((1,), (1 << 70,))),
        Embed((), tokens=((-(1 << 70),),)),
        Embed(("",), dimensions=1 << 80),
    ):
        with pytest.raises(Unfit, match=f"number of at most {MOST_NUMBER}"):
            await api.result(SMALL, beyond)
    with pytest.raises(Unfit, match="max_tokens is at most 1048576"):
        await api.result("phi-3-mini", Generate("a", 1 << 40))


async def test_texts_of_more_than_a_body_are_refused_in_this_process_too(paths: Paths) -> None:
    async with _real(paths) as engine:
        with pytest.raises(Unfit, match=f"at most {MOST_CHARACTERS} characters"):
            await engine.result(SMALL, Embed(("a" * MOST_CHARACTERS, "b")))


async def test_no_more_commands_are_under_way_than_snapshots_can_show() -> None:
    submissions = Submissions(lambda _id: None)
    for number in range(MOST_UNDER_WAY):
        submissions.ask(Submission(str(number), Load("a")))

    submissions.check(Submission("0", Load("a")))
    with pytest.raises(Overloaded, match=f"{MOST_UNDER_WAY} commands are under way"):
        submissions.check(Submission("one more", Load("a")))
