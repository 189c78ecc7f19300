"""What the palette does about the catalog: a model of one's own is added, one is fetched from the hub, the file is read again."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final, assert_never

from textual.app import App

from citadel_tui.flow import StatusMessage
from citadel_tui.link import Link
from citadel_tui.viewmodel.glyphs import Glyphs
from engine.core.catalog import CatalogChange, catalog_change_text
from engine.core.pulling import NotPulled, Pulled


class CatalogDeed(Enum):
    """Each with the words that the palette has for it."""

    ADD = "add a model of your own: a folder, or what was fetched from the hub"
    PULL = "pull a model from the hub, and add it"
    RELOAD = "reload the catalog: take up what its file says now"


class CatalogDeeds:
    """Questions are asked with screens of the app, and what came of a deed is said. Each raises EngineError."""

    def __init__(self, app: App[int], link: Link, say: Callable[[StatusMessage], None], glyphs: Glyphs) -> None:
        self._app: Final = app
        self._link: Final = link
        self._say: Final = say
        self._glyphs: Final = glyphs

    async def do(self, deed: CatalogDeed) -> None:
        match deed:
            case CatalogDeed.ADD:
                source = await self._asked(
                    "Add a model of your own", "path:FOLDER, or hub:REPO[@REVISION] that was fetched"
                )
                if source is not None:
                    await self._add(source)
            case CatalogDeed.PULL:
                repository = await self._asked(
                    "Pull a model from the hub", "REPO[@REVISION], such as intfloat/e5-small-v2"
                )
                if repository is not None:
                    await self._pull(repository)
            case CatalogDeed.RELOAD:
                self._tell("Reload", await self._link.engine.reload())
            case _:
                assert_never(deed)

    async def _asked(self, title: str, hint: str) -> str | None:
        from citadel_tui.screens.own_models import AskLine

        return await self._app.push_screen_wait(AskLine(title, hint, self._glyphs))

    async def _add(self, source: str) -> None:
        from engine.own_models import NewModel, OwnModels

        self._say(StatusMessage(f"Add: looking at {source}", "dim"))
        engine = self._link.engine
        own = OwnModels(Path((await engine.hello()).config), os.environ, engine)
        added = await own.add(NewModel(source))
        if added.change is not None:
            self._tell("Add", added.change, added.remarks)

    async def _pull(self, repository: str) -> None:
        from citadel_tui.screens.own_models import PullScreen
        from engine.pull import order_of, pull_source

        order = order_of(repository)
        outcome = await self._app.push_screen_wait(PullScreen(order, self._glyphs))
        match outcome:
            case Pulled():
                await self._add(pull_source(order))
            case NotPulled(reason):
                self._say(StatusMessage(f"Pull: {reason}", "bad"))
            case None:
                self._say(StatusMessage(f"Pull: given up; what came of {order.repository} is kept", "warn"))

    def _tell(self, word: str, change: CatalogChange, remarks: tuple[str, ...] = ()) -> None:
        said = (catalog_change_text(change), *remarks, *change.remarks)
        self._say(StatusMessage(f"{word}: {'; '.join(dict.fromkeys(said))}", "warn" if len(said) > 1 else "good"))
