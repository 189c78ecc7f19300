"""Requests that judge texts, on every `EngineAPI`, and `GPUManager` over a served one."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from engine.answers import LabelScore
from engine.api import CannotServe, EngineAPI, UnknownModel
from engine.client import connect
from engine.core.models import Footprint, ModelSpec
from engine.core.sizes import MIB
from engine.core.state import ModelState
from engine.core.tasks import Classify, Rerank, RunResult, TextTokens
from engine.manager import GPUManager
from engine.paths import Paths, find_paths
from tests.scripted_engine import ScriptedEngine
from tests.scripted_plans import scripted_state
from tests.service.serving import serving

JUDGE, SORTER = "judge", "sorter"
LONG = "one two three four five"


def judging_engine() -> ScriptedEngine:
    state = scripted_state()
    footprint = Footprint(80 * MIB, 10 * MIB)
    judges = {
        JUDGE: ModelState(ModelSpec(JUDGE, ("path:/judge",), "rerank"), footprint),
        SORTER: ModelState(ModelSpec(SORTER, ("path:/sorter",), "classify"), footprint),
    }
    return ScriptedEngine(replace(state, models=state.models | judges))


@pytest.fixture(params=["in this process", "over the socket"])
async def api(request: pytest.FixtureRequest, paths: Paths) -> AsyncIterator[EngineAPI]:
    async with contextlib.AsyncExitStack() as stack:
        engine = judging_engine()
        if request.param == "over the socket":
            await stack.enter_async_context(serving(engine, paths))
            yield await connect(paths)
        else:
            yield engine


async def test_documents_come_the_best_first_each_with_its_number_and_its_tokens(api: EngineAPI) -> None:
    ranking = await api.rerank(JUDGE, "who", ["a cat", "the cat sits", "a dog"])
    assert [document.document for document in ranking.ranked] == [1, 0, 2]
    assert [document.score for document in ranking.ranked] == [0.75, 0.5, 0.5]
    assert ranking.ranked[0].tokens == TextTokens(3, 3)
    assert ranking.device in (await api.snapshot()).state.devices


async def test_only_the_best_come_where_so_many_are_asked_for(api: EngineAPI) -> None:
    ranking = await api.rerank(JUDGE, "who", ["a cat", "the cat sits", "a dog"], top=1)
    assert [document.document for document in ranking.ranked] == [1]


async def test_each_text_gets_all_labels_the_best_first(api: EngineAPI) -> None:
    short, long = (await api.classify(SORTER, ["cat", "the cat sits"])).texts
    assert short.labels == (LabelScore("short", 0.75), LabelScore("long", 0.25))
    assert [one.label for one in long.labels] == ["long", "short"]


async def test_no_text_is_cut_unless_that_is_asked_for(api: EngineAPI) -> None:
    with pytest.raises(CannotServe, match="5 tokens long, and the model reads 4"):
        await api.rerank(JUDGE, "who", [LONG])
    with pytest.raises(CannotServe, match="5 tokens long, and the model reads 4"):
        await api.classify(SORTER, [LONG])
    cut = (await api.rerank(JUDGE, "who", [LONG], truncate=True)).ranked[0].tokens
    assert cut.is_cut
    assert (await api.classify(SORTER, [LONG], truncate=True)).texts[0].tokens == cut == TextTokens(5, 4)


async def test_a_run_says_its_result_and_nothing_before_it(api: EngineAPI) -> None:
    for model, task in ((JUDGE, Rerank("who", ("a cat",))), (SORTER, Classify(("a cat",)))):
        (only,) = [event async for event in api.run(model, task)]
        assert isinstance(only, RunResult)


async def test_a_model_for_another_task_is_refused_in_words(api: EngineAPI) -> None:
    with pytest.raises(CannotServe, match="sorter is for classify, not for rerank"):
        await api.rerank(SORTER, "who", ["a cat"])
    with pytest.raises(CannotServe, match="judge is for rerank, not for embedding"):
        await api.embed(JUDGE, ["a cat"])
    with pytest.raises(UnknownModel, match="nobody"):
        await api.classify("nobody", ["a cat"])


async def test_half_characters_are_refused_by_the_text_that_has_them(api: EngineAPI) -> None:
    with pytest.raises(CannotServe, match="document 2 holds half characters"):
        await api.rerank(JUDGE, "who", ["a cat", "caf\udce9"])
    with pytest.raises(CannotServe, match="the query holds half characters"):
        await api.rerank(JUDGE, "\ud800", ["a cat"])
    with pytest.raises(CannotServe, match="text 1 holds half characters"):
        await api.classify(SORTER, ["\ud800"])


async def test_scripts_judge_texts_through_the_manager() -> None:
    def script() -> tuple[list[int], list[str], int]:
        with GPUManager() as manager:
            best = manager.rerank(JUDGE, "who", ["a cat", "the cat sits"], top=1)
            labels = manager.classify(SORTER, ["the cat sits"])[0].labels
            cut = manager.classify(SORTER, [LONG], truncate=True)[0].tokens
            return [one.document for one in best], [one.label for one in labels], cut.kept

    async with serving(judging_engine(), find_paths(os.environ)):
        assert await asyncio.to_thread(script) == ([1], ["long", "short"], 4)
