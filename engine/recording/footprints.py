"""What runs taught of the models' footprints and of the time that they take, kept over restarts in one small file that is written
whole or not at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from engine.core.forecast.footprints import RunPeaks
from engine.core.models import Dtype, Limits
from engine.core.names import ModelName
from engine.core.prediction import Rates
from engine.core.serialization import Undecodable, from_sealed_json, to_sealed_json
from engine.core.state import ModelState
from engine.whole_file import put_aside, read_whole, write_whole

_log: Final = logging.getLogger(__name__)
_VERSION: Final = 1
_MOST_BYTES: Final = 64 << 20
KEPT_LESSONS: Final = 1000
"""The newest; others are of models, limits or builds of torch that were in use long ago."""


class PeaksSubject(Struct, frozen=True):
    """What lessons hold for: anything else about a model changes nothing about its runs."""

    model: ModelName
    source: str
    dtype: Dtype
    limits: Limits
    kind: str
    """The device's title."""
    torch: str
    """Version, with its build."""


class _Lesson(Struct, frozen=True):
    subject: PeaksSubject
    peaks: RunPeaks = RunPeaks()
    rates: Rates | None = None
    """Seconds for their work; None where no run has been timed."""


class _File(Struct, frozen=True):
    version: int
    lessons: tuple[_Lesson, ...]
    """Oldest first."""


class Recalled(NamedTuple):
    """What earlier runs of the engine kept for these models."""

    peaks: dict[tuple[ModelName, str], RunPeaks]
    """By model and kind of device, as the next."""
    rates: dict[tuple[ModelName, str], Rates]
    warning: str = ""
    """Why nothing is known, when there was something to know."""


class FootprintStore:
    """Reads the file once and rewrites it with each lesson. A file that can't be written costs what was learned, no more."""

    def __init__(self, path: Path, models: Mapping[ModelName, ModelState], torch: str) -> None:
        self._path = path
        self._models = dict(models)
        self._torch = torch
        self._lessons: dict[PeaksSubject, _Lesson] = {}
        self._writing = asyncio.Lock()

    def read(self) -> Recalled:
        """Lessons for the models as they are now. A file that can't be understood is put aside, and the warning says so."""
        try:
            found: _File = from_sealed_json(read_whole(self._path, _MOST_BYTES), _File)
        except FileNotFoundError:
            return Recalled({}, {})
        except (OSError, Undecodable) as error:
            return Recalled({}, {}, self._put_aside(str(error)))
        if found.version != _VERSION:
            return Recalled({}, {}, self._put_aside(f"it is of version {found.version}, not {_VERSION}"))
        self._lessons = {lesson.subject: lesson for lesson in found.lessons}
        ours = {
            (subject.model, subject.kind): lesson
            for subject, lesson in self._lessons.items()
            if subject.model in self._models and subject == self._subject(subject.model, subject.kind)
        }
        rates = {place: lesson.rates for place, lesson in ours.items() if lesson.rates is not None}
        return Recalled({place: lesson.peaks for place, lesson in ours.items()}, rates)

    def know(self, known: ModelState) -> None:
        """The model is new, or another one: lessons are of what it is now."""
        self._models[known.spec.name] = known

    def forget(self, model: ModelName) -> None:
        """There is no such model any more. Its lessons stay, for the day that it comes back."""
        self._models.pop(model, None)

    async def keep(self, model: ModelName, kind: str, peaks: RunPeaks) -> None:
        """Write the lesson beside the others."""
        self._lay_down(replace(self._taken_up(model, kind), peaks=peaks))
        await self._write()

    async def keep_rates(self, models: Mapping[ModelName, ModelState]) -> None:
        """Write how long the runs of each model took on each kind of device, if any has been timed."""
        timed = [(model, kind, rates) for model, known in models.items() for kind, rates in known.run_rates.items()]
        for model, kind, rates in timed:
            self._lay_down(replace(self._taken_up(model, kind), rates=rates))
        if timed:
            await self._write()

    def _taken_up(self, model: ModelName, kind: str) -> _Lesson:
        """The lesson so far, which comes to lie as the newest."""
        subject = self._subject(model, kind)
        return self._lessons.pop(subject, _Lesson(subject))

    def _lay_down(self, lesson: _Lesson) -> None:
        self._lessons[lesson.subject] = lesson

    async def _write(self) -> None:
        async with self._writing:
            file = _File(_VERSION, tuple(self._lessons.values())[-KEPT_LESSONS:])
            try:
                await asyncio.to_thread(lambda: write_whole(self._path, to_sealed_json(file)))
            except OSError as error:
                _log.warning(
                    "%s can't be written: %s; what runs taught is lost at a restart", self._path, error.strerror
                )

    def _subject(self, model: ModelName, kind: str) -> PeaksSubject:
        known = self._models[model]
        return PeaksSubject(model, known.source, known.spec.dtype, known.spec.limits, kind, self._torch)

    def _put_aside(self, why: str) -> str:
        return f"{self._path} can't be read ({why}); footprints are learned anew, {put_aside(self._path)}"
