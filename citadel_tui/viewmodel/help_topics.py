"""What `citadel help` explains, topic by topic; the help page shows the same keys and meanings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec import Struct

from citadel_tui.actions import ACTIONS
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.pages.help import key_lines
from citadel_tui.viewmodel.meanings import meaning_lines
from citadel_tui.viewmodel.prose import fact, sentences
from citadel_tui.viewmodel.spans import Line

MakeTopic: TypeAlias = Callable[[int, Glyphs], tuple[Line, ...]]
_LABEL: Final = 24


class Topic(Struct, frozen=True):
    """Something that can be explained."""

    purpose: str
    lines: MakeTopic


def _points(*points: str) -> MakeTopic:
    return lambda width, glyphs: sentences(points, width, glyphs)


def _facts(*facts: tuple[str, str]) -> MakeTopic:
    return lambda width, glyphs: tuple(
        line for name, meaning in facts for line in fact(glyphs.text(name), glyphs.text(meaning), width, _LABEL)
    )


_PLACEMENT: Final = _points(
    "A model that is on a GPU is used there; nothing moves.",
    "Otherwise every healthy GPU is asked. Where there is room nothing leaves; the preferred device wins, then the balancing.",
    "Without room, each GPU names the residents whose loss is expected to cost the fewest seconds of reloading. The cheapest "
    "GPU wins; the others are the preview's alternatives.",
    "Never victims: models that are pinned, in use, on their way, or have just come.",
    "When nothing else is left the model goes to the CPU where CPU_FALLBACK_ENABLED allows it, waits, or is refused with the "
    "figures.",
    "`citadel plan load MODEL` shows the decision before it is made, `citadel why MODEL` the one that was made.",
)
_BENCH: Final = _points(
    "`citadel bench`, or b in the console, takes a model off its device and loads it again, over and over, and measures it.",
    "Who has to leave meanwhile is named first and needs a yes. Afterwards, and when it is stopped, everything is put back.",
    "from ram: the RAM tier has the weights; page-cache and disk: the RAM tier does not; resident: a request on a ready model.",
    "p50 and p95 are of whole switches. EFF is the time that a bare copy of the bytes needs, as a share of what was measured.",
    "The console saves each run in the state folder's bench/; `citadel bench compare BEFORE.json AFTER.json` holds two "
    "against each other: slower means by more than 10 %, and by more than chance.",
)
_TROUBLES: Final = _facts(
    ("killed by SIGKILL", "the kernel ran out of memory, usually: see dmesg. Its models come back by themselves"),
    ("the largest budget is", "it fits no device: lower max_batch or max_sequence, or choose float16 or int8"),
    ("a refusal with a blocker", "unpin it, or wait for its running use to end"),
    ("CPU fallback", "no GPU could take it; `citadel cpu MODEL --back` brings it back when there is room"),
    ("took longer than", "raise loading.timeout_s; the worker was replaced and the load tried again"),
    ("lost, stale, unsupported", "the reason stands beside the device; nothing is placed there until it is back"),
    ("no card", "`citadel doctor`: library, driver, versions, rights, each with its fix"),
    ("CUDA out of memory", "victims, other devices and the CPU were tried first; lower max_batch"),
    ("an imbalance", "`citadel rebalance`, or policy.balancing: spread, pack or most_free"),
    ("the console looks wrong", "CITADEL_ASCII=1 for plain characters, v for other colours, `citadel status --plain`"),
)
_FILES: Final = _facts(
    ("config/", "gpu_allocation.yaml (devices, budgets, policy) and model_gpu_mapping.json (the catalog)"),
    (".env", "settings of the environment; the process environment wins over it"),
    ("~/.config/citadel/", "console.yaml: how the console was left, and keys of your own"),
    ("~/.local/state/citadel/", "engine.log, journal/, demand/, memory/, bench/, screenshots/"),
    ("~/.cache/citadel/", "prepared and synthetic models; safe to delete while no engine runs"),
    ("/tmp/citadel-UID/", "the engine's socket"),
    ("CITADEL_HOME=DIR", "puts all of them but config/ and .env below one folder; also for a second engine"),
)
TOPICS: Final[dict[str, Topic]] = {
    "keys": Topic("what each key of the console does", lambda width, glyphs: key_lines(ACTIONS, width)),
    "colours": Topic("what marks, words and colours mean", meaning_lines),
    "placement": Topic("where models go, and who leaves for them", _PLACEMENT),
    "bench": Topic("measuring how long switches take", _BENCH),
    "troubles": Topic("what a message means, and what to do", _TROUBLES),
    "files": Topic("where everything is kept", _FILES),
}
