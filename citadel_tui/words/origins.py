"""Who asked for something, and where weights come from: the words for it, wherever they are read."""

from __future__ import annotations

from typing import Final

from engine.core.commands import Origin
from engine.core.plans import Tier

ASKED_BY: Final[dict[Origin, str]] = {
    "operator": "an operator",
    "request": "a request",
    "config": "the preload list",
    "restore": "a restart",
    "trial": "a measurement",
}
FROM: Final[dict[Tier, str]] = {
    "source": "from its source, prepared first",
    "disk": "from disk",
    "ram": "from the RAM tier",
}
