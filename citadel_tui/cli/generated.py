"""Demand that is generated instead of read from a trace, as it is asked for on the command line."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

EXAMPLE: Final = "zipf=1.1,models=4,requests=500,seed=1"


class Generated(Struct, frozen=True, forbid_unknown_fields=True):
    """About one request a second: models asked for by Zipf's law, each with gamma-distributed gaps."""

    models: Annotated[int, Meta(ge=1, le=1000)] = 4
    requests: Annotated[int, Meta(ge=1, le=1_000_000)] = 500
    zipf: Annotated[float, Meta(ge=0, le=10)] = 1.1
    """The exponent: 0 asks for all models alike."""
    gap_cv: Annotated[float, Meta(gt=0, le=10)] = 1.0
    """Standard deviation of a model's gaps over their mean: 1 is Poisson, more is burstier."""
    seed: Annotated[int, Meta(ge=0)] = 1

    @property
    def text(self) -> str:
        figures = (f"{name}={getattr(self, name):g}" for name in self.__struct_fields__)
        return f"generated: {', '.join(figures)}"


def read_generated(text: str) -> Generated:
    """`text` such as EXAMPLE; what is left out has its default. Raises ValueError with what to write."""
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return msgspec.convert({name.strip(): value.strip() for name, _, value in pairs}, Generated, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{text!r} describes no demand ({error}); write for example {EXAMPLE}") from None
