"""What a command would cost each of a few boxes: they are asked side by side, and none is waited for that is slow to say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from engine.api import EngineError, EngineUnreachable
from engine.core.commands import Command
from engine.core.names import BoxName
from engine.core.plans import Plan, Refusal
from fleet.boxes import Box
from fleet.naming import on

BIDS_WITHIN_S: Final = 0.3

Asked: TypeAlias = dict[BoxName, Plan | Refusal | str]
"""What each would do, as it calls its devices, or why it would do nothing; or, in words, why it did not say."""


async def plans_of(boxes: Mapping[BoxName, Box], asked: Sequence[BoxName], command: Command) -> Asked:
    """What each of them would do for `command` now."""

    async def plan(name: BoxName) -> Plan | Refusal | str:
        try:
            async with asyncio.timeout(BIDS_WITHIN_S):
                return await boxes[name].ask(lambda link: link.plan(command))
        except TimeoutError:
            return f"has not said within {BIDS_WITHIN_S:g} s what it would do"
        except EngineUnreachable as error:
            return f"does not answer: {error}"
        except EngineError as error:
            return str(error)

    return dict(zip(asked, await asyncio.gather(*map(plan, asked)), strict=True))


def refusals(asked: Asked) -> str:
    """Why none of them would, in words."""
    said = [
        f"{name}: {on(name, found).reason if isinstance(found, Refusal) else found}"
        for name, found in asked.items()
        if not isinstance(found, Plan)
    ]
    return "; ".join(said)
