"""Another box, as the operator's own ssh reaches it: the same Citadel is asked there to do its part."""

from __future__ import annotations

import shlex
import subprocess
from typing import Final, TypeVar

from msgspec import Struct

from engine.core.serialization import Undecodable, from_json, to_json
from engine.core.texts import in_brief
from fleet.joining import Bundle, Facts, Look, Outcome
from fleet.ray_cluster import FleetRefused

_T = TypeVar("_T", Facts, Outcome)

_OPTIONS: Final = ("-o", "ConnectTimeout=10")


class FarBox:
    """The machine that ssh calls `host`, whose Citadel `python` runs there. Every call raises FleetRefused."""

    def __init__(self, host: str, python: str) -> None:
        self.host: Final = host
        self.python: Final = python

    def look(self, head: str) -> Facts:
        return self._asked("look", Look(head), Facts)

    def join(self, bundle: Bundle) -> Outcome:
        return self._asked("join", bundle, Outcome)

    def leave(self) -> Outcome:
        return self._asked("leave", Outcome(), Outcome)

    def _asked(self, what: str, said: Struct, kind: type[_T]) -> _T:
        command = shlex.join([self.python, "-P", "-m", "fleet.joining", what])
        try:
            ran = subprocess.run(
                ["ssh", *_OPTIONS, "--", self.host, command], input=to_json(said), capture_output=True, check=False
            )
        except OSError as error:
            raise FleetRefused(f"ssh can't be started here ({error.strerror}); install an OpenSSH client") from None
        # A login may greet first.
        answer = ran.stdout.strip().rpartition(b"\n")[2]
        try:
            outcome = from_json(answer, Outcome)
        except Undecodable:
            outcome = Outcome()
        if outcome.refused:
            raise FleetRefused(f"{self.host} refused: {outcome.refused}")
        try:
            return from_json(answer, kind)
        except Undecodable:
            why = in_brief(ran.stderr.decode(errors="replace").strip().rpartition("\n")[2] or "it said nothing", 300)
            raise FleetRefused(
                f"Citadel was not found on {self.host} as {self.python} ({why}). The same version must be installed there with"
                " Ray; name its Python with --python"
            ) from None
