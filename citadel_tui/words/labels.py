"""What things are called where people read them: models, of which one with random weights is never named without saying so;
who asked for something; where weights come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from citadel_tui.text import clean
from engine.core.commands import Origin
from engine.core.names import ModelName
from engine.core.plans import Tier
from engine.core.state import State

Label: TypeAlias = Callable[[ModelName], str]


def labels(state: State) -> Label:
    """How each model of `state` is called; a name that it does not know is only made clean."""

    def label(name: ModelName) -> str:
        model = state.models.get(name)
        return model_label(name, synthetic=model is not None and model.synthetic)

    return label


def model_label(name: ModelName, *, synthetic: bool) -> str:
    return f"{clean(name)} (synthetic)" if synthetic else clean(name)


ASKED_BY: Final[dict[Origin, str]] = {
    "operator": "an operator",
    "request": "a request",
    "config": "the preload list",
    "restore": "a restart",
    "trial": "a measurement",
    "queue": "a queue of requests",
}
FROM: Final[dict[Tier, str]] = {
    "source": "from its source, prepared first",
    "disk": "from disk",
    "ram": "from the RAM tier",
}
