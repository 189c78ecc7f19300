"""Values as people write them on a command line; what is wrong is refused with what to write."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Annotated, Final

from msgspec import Meta, Struct

from engine.core.names import is_box_name, is_device_id
from engine.core.serialization import Undecodable, converted
from engine.core.sizes import parse_bytes

EXAMPLE: Final = "zipf=1.1,models=4,requests=500,seed=1"


class GeneratedDemand(Struct, frozen=True, forbid_unknown_fields=True):
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


def read_generated(text: str) -> GeneratedDemand:
    """`text` such as EXAMPLE; what is left out has its default. Raises ValueError with what to write."""
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        return converted({name.strip(): value.strip() for name, _, value in pairs}, GeneratedDemand, strict=False)
    except Undecodable as error:
        raise ValueError(f"{text!r} describes no demand ({error}); write for example {EXAMPLE}") from None


def _positive(convert: Callable[[str], float], text: str, what: str) -> float:
    try:
        value = convert(text)
    except ValueError:
        value = 0
    if value <= 0 or not math.isfinite(value):
        raise ArgumentTypeError(f"{text!r} is not {what}")
    return value


def seconds(text: str) -> float:
    """A duration."""
    return _positive(float, text, "a number of seconds above 0")


def factor(text: str) -> float:
    """How many times, or how much."""
    return _positive(float, text, "a number above 0")


def percentage(text: str) -> float:
    """A share of 1; the sign may be left out."""
    return _positive(float, text.removesuffix("%"), "a percentage above 0, such as 10%") / 100


def count(text: str) -> int:
    """How many."""
    return int(_positive(int, text, "a whole number above 0"))


def count_or_none(text: str) -> int:
    """How many, or 0."""
    return 0 if text == "0" else count(text)


def size(text: str) -> int:
    """Bytes."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def budgets(text: str) -> tuple[int, ...]:
    """Budgets such as 2x4.8GB, or 4.8GB,2x6GiB for cards that differ."""
    found: list[int] = []
    for part in text.split(","):
        number, times, each = part.rpartition("x")
        found += [size(each)] * (count(number) if times else 1)
    return tuple(found)


def device(text: str) -> str:
    """A device's name, in a fleet with its box's."""
    box, slash, within = text.rpartition("/")
    if not is_device_id(within) or (slash and not is_box_name(box)):
        raise ArgumentTypeError(
            f"{text!r} is not a device; write cpu, gpu0, gpu1, … as `citadel status` shows them, in a fleet box2/gpu0"
        )
    return text


def device_or_box(text: str) -> str:
    """A device's name, or that of a fleet's box."""
    return text if is_box_name(text) else device(text)


def generated_demand(text: str) -> GeneratedDemand:
    """What `--generated` asks for."""
    try:
        return read_generated(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
