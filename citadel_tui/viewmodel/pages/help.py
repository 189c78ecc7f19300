"""Everything that is explained: the footer's keys and the help page, made from the registry of actions, and the topics of
`citadel help`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct

from citadel_tui.actions import ACTIONS, Action, Registry
from citadel_tui.viewmodel.glyphs import Glyphs
from citadel_tui.viewmodel.paper import Paper
from citadel_tui.viewmodel.prose import fact, heading, section, sentences
from citadel_tui.viewmodel.spans import Line, Role, Span, left, width_of

_MARK: Final = 7
_STATE: Final = 10
_COLOURS: Final[tuple[tuple[Role, str, str], ...]] = (
    ("good", "good", "as it should be: ready, done, within the target"),
    ("warn", "warning", "under way, waiting, or worth a look; what is dear or not real"),
    ("bad", "bad", "failed, lost, or out of bounds"),
    ("leaving", "leaving", "a model that has to leave, or is leaving"),
    ("key", "key", "a key, and what is chosen"),
    ("dim", "dim", "less important; on the whole screen: it may no longer be so"),
)
_STATES: Final = (
    ("ready", "answers requests on its device"),
    ("pending", "planned; it waits until its room is proven"),
    ("read, copy", "under way, with the share of its bytes that have come; likewise prepare, bind and warm"),
    ("draining", "to leave once its running requests have ended; a new one still keeps it"),
    ("leaving", "gone for good; its bytes count until the device shows them free"),
    ("waiting", "wanted, and waits for what the line below the table says"),
    ("queued", "wanted, and about to be planned"),
    ("reading", "on no device; its weights are being read into the RAM tier"),
    ("resting", "on no device; WHERE says whether its weights are in the RAM tier or on disk"),
    ("trouble", "can't be loaded; the line below the table says why"),
)
_WORDS: Final = (
    ("device", "a place that runs a model: gpu0, gpu1, …, cpu"),
    ("virtual GPU", "a slice of host RAM, or of a card, that behaves as a device of its own"),
    ("resident", "a model whose weights are on a device"),
    ("copy", "one of several residents of one model, each on a GPU of its own"),
    ("budget", "what the engine may fill of a device: a share of it, and never more than others leave free"),
    (
        "footprint",
        "what a model needs on a device, weights and workspace: estimated, measured, or learned from its runs",
    ),
    ("workspace", "what a model's requests need beside its weights"),
    ("slab", "a model's weights as one file, laid out as a device wants them: prepared once, then copied in one go"),
    ("RAM tier", "host RAM with a budget of its own, where slabs rest that may be wanted soon; behind it is the disk"),
    ("lease", "a running use of a resident, which is neither moved nor dropped before it ends"),
    ("pin", "your word that a model is never a victim; with a device, that it stays there"),
    ("victim", "a resident that has to leave to make room"),
    ("plan", "the steps that answer a command, with who leaves, how long they take and what else was weighed"),
    ("switch", "a plan that was carried out and changed who is resident"),
    ("queue, drain", "phases of a switch: waiting for its turn and room; for victims' leases to end"),
    ("evict, settle", "taking victims off; until the device shows their bytes free"),
    ("prepare", "a phase of a switch: writing a model's slab from its source, once"),
    ("read, copy", "from the disk to the RAM tier; from there to the device"),
    ("bind, warm", "pointing the model at its bytes; a first run, so that no request pays for it"),
    ("write-back", "a victim's weights on their way back to the RAM tier, where that pays"),
    ("lane", "how a worker answers: texts together in batches, or what is written token by token; they take turns"),
    ("CPU fallback", "a model runs on the CPU because no GPU could take it"),
    ("external", "memory of a device that other programs use"),
    ("floor, EFF", "the time that a bare copy of the bytes needs, and that as a share of the time it took"),
    ("thrash", "a model that leaves and comes back over and over"),
    ("drain, pack", "as commands: take everything off a device; free one device entirely"),
    ("rebalance", "put models where the present demand needs the least reloading"),
    ("regret", "of a replay: how much longer a policy switched than one that knows the future"),
)
_WORD: Final = 13
_KEY_WIDTH: Final = 7
_VERB_WIDTH: Final = 10
_LABEL: Final = 24


def help_lines(actions: Registry, paper: Paper) -> tuple[Line, ...]:
    """All keys with what they do, then what is seen and what it means."""
    return (
        heading("Keys"),
        *key_lines(actions, paper.width),
        *meaning_lines(paper),
        *section("Words", word_lines(paper)),
        *section("More", fact("shell", "citadel help lists what else is explained", paper.width, _KEY_WIDTH)),
    )


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────


class FooterKey(NamedTuple):
    """One key of the footer."""

    action: Action
    line: Line


def footer_keys(offered: Sequence[tuple[Action, str]], width: int) -> list[FooterKey]:
    """The keys that fit; those that can't be pressed now, for a reason, in brackets. The last two always stay."""
    keys = [FooterKey(action, _key_part(action, why_not)) for action, why_not in offered if action.footer]
    while len(keys) > 2 and sum(width_of(key.line) for key in keys) > width:
        keys.pop(-3)
    return keys


def footer_line(keys: Sequence[FooterKey], paper: Paper) -> Line:
    """The keys one behind the other."""
    return paper.filled(tuple(span for key in keys for span in key.line))


def action_at(keys: Sequence[FooterKey], x: int) -> Action | None:
    """The action whose key is shown over the cell `x`."""
    for key in keys:
        x -= width_of(key.line)
        if x < 0:
            return key.action
    return None


def _key_part(action: Action, why_not: str) -> Line:
    if why_not:
        return (Span(f" ({action.key_text} {action.word})", "dim"),)
    return (Span(f" {action.key_text}", "key"), Span(f" {action.word} "))


def key_lines(actions: Registry, width: int) -> tuple[Line, ...]:
    """Every key, its verb, and what that does."""
    return tuple(line for action in actions for line in _help(action, width))


def _help(action: Action, width: int) -> tuple[Line, ...]:
    """The key in its own colour before the verb and what it does."""
    first, *more = fact(action.word, action.help, width - _KEY_WIDTH, _VERB_WIDTH)
    blank = Span(" " * _KEY_WIDTH)
    return ((Span(left(action.key_text, _KEY_WIDTH), "key"), *first), *((blank, *line) for line in more))


# ── what is seen, and what it means ───────────────────────────────────────────────────────────────


def meaning_lines(paper: Paper) -> tuple[Line, ...]:
    """All of them. No meaning rests on a colour alone."""
    marks = (line for mark, meaning in _marks(paper.glyphs) for line in fact(mark, meaning, paper.width, _MARK))
    states = (line for state, meaning in _STATES for line in fact(state, meaning, paper.width, _STATE))
    colours = (line for role, name, meaning in _COLOURS for line in _colour(role, name, meaning, paper.width))
    return (
        *section("Memory bars, table and log", marks),
        *section("Words in STATE", states),
        *section("Colours, never alone", colours),
    )


def word_lines(paper: Paper) -> tuple[Line, ...]:
    """What Citadel's own words mean."""
    return tuple(line for word, meaning in _WORDS for line in fact(word, paper.text(meaning), paper.width, _WORD))


def _colour(role: Role, name: str, meaning: str, width: int) -> tuple[Line, ...]:
    """The name in its own colour, and what that stands for."""
    (_, first), *more = fact(name, meaning, width, _STATE)
    return ((Span(left(name, _STATE + 1), role), first), *more)


def _marks(glyphs: Glyphs) -> tuple[tuple[str, str], ...]:
    return (
        (
            glyphs.swatch,
            "the model's own colour, the same in bars, table, log and timeline; models may share one where they are many",
        ),
        (glyphs.weights, "a resident's weights, behind its name"),
        (glyphs.workspace, "its workspace: what a request may need; as a figure: reserved and not in use now"),
        (glyphs.ghost, "a load under way"),
        (glyphs.leaving, "a model that is leaving; its bytes count until the device shows them free"),
        (glyphs.room, "room inside the budget"),
        (glyphs.budget, "where the budget ends"),
        (glyphs.context, "taken by the engine's worker itself, as its CUDA context is"),
        (glyphs.external, "in use by other programs"),
        (
            glyphs.levels[-6:] if not glyphs.plain else glyphs.levels[1:],
            "before a bar: how busy the device was, newest at the right; of one that does not tell, how full it was",
        ),
        ("e5 125", "beside a bar: models with too little room in it for their names, in MiB, the largest first"),
        (glyphs.leaked, "bytes that did not come back when a model left"),
        (glyphs.marked, "marked: the next verb is for all models with this mark"),
        (glyphs.synthetic, "synthetic: random weights made from the real configuration"),
        (glyphs.pinned, "pinned; a device's name means pinned to that device"),
        (glyphs.out, "in the log: before the models that had to leave; in the timeline: it had to leave for another"),
        (glyphs.unwatched, "in the timeline: there, and nobody watched whether it answered"),
        ("!", "in the timeline: a load failed, or what was there was lost"),
    )


# ── what `citadel help` explains ──────────────────────────────────────────────────────────────────

MakeTopic: TypeAlias = Callable[[Paper], tuple[Line, ...]]


class Topic(Struct, frozen=True):
    """Something that can be explained."""

    purpose: str
    lines: MakeTopic


def _points(*points: str) -> MakeTopic:
    return lambda paper: sentences(points, paper)


def _facts(*facts: tuple[str, str]) -> MakeTopic:
    return lambda paper: tuple(
        line for name, meaning in facts for line in fact(paper.text(name), paper.text(meaning), paper.width, _LABEL)
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
    "p50 and p95 are of N whole switches, those that failed left out. EFF is the time that a bare copy of the bytes needs, as a "
    "share of what was measured.",
    "The console saves each run in the state folder's bench/; `citadel bench compare BEFORE.json AFTER.json` holds two "
    "against each other: slower means by more than 10 %, and by more than chance.",
)
_TROUBLES: Final = _facts(
    ("killed by SIGKILL", "the kernel ran out of memory, usually: see dmesg. Its models come back by themselves"),
    ("the largest budget is", "it fits no device: lower max_batch or max_sequence, or choose float16, int8 or nf4"),
    ("a refusal with a blocker", "unpin it, or wait for its running request to end"),
    ("CPU fallback", "no GPU could take it; `citadel cpu MODEL --back` brings it back when there is room"),
    ("took longer than", "raise loading.timeout_s; the worker was replaced and the load tried again"),
    ("lost, stale, unsupported", "the reason stands beside the device; nothing is placed there until it is back"),
    ("silent 12s", "the engine gives no sign of life: it is stopped, or gets no processor; what is shown is that old"),
    ("no card", "`citadel doctor`: library, driver, versions, rights, each with its fix"),
    ("CUDA out of memory", "victims, other devices and the CPU were tried first; lower max_batch"),
    ("an imbalance", "`citadel rebalance`, or policy.balancing: spread, pack or most_free"),
    (
        "no source can be used",
        "`citadel pull REPO` fetches it; `citadel models info MODEL` says what is looked for",
    ),
    ("the console looks wrong", "CITADEL_ASCII=1 for plain characters, v for other colours, `citadel status --plain`"),
)
_MODELS: Final = _points(
    "`citadel models add path:DIR` or `hub:REPO` puts a model of your own into the catalog; its task, dtype and name are found "
    "in its files. The engine that runs knows it at once.",
    "`citadel pull REPO --add` fetches it from the hub first: only what is read, and on from where a line broke; then it is "
    "prepared.",
    "`citadel models rm MODEL` takes it out; one that is on a device answers until it leaves. `models alias` gives other names.",
    "Whoever edits model_gpu_mapping.json by hand has it taken up by `citadel models reload` or the signal HUP. Residents are "
    "left alone: new weights, limits or dtypes hold from the next load on.",
    "In the console the palette has the same: type add, pull or reload.",
)
_FILES: Final = _facts(
    ("config/", "gpu_allocation.yaml (devices, budgets, policy) and model_gpu_mapping.json (the catalog)"),
    (".env", "settings of the environment; the process environment wins over it"),
    (
        "~/.config/citadel/",
        "console.yaml: how the console was left, and keys of your own; and what config/ has, where there is none "
        "(`citadel init` writes it; else the program's own defaults hold)",
    ),
    ("~/.local/state/citadel/", "engine.log, journal/, demand/, memory/, bench/, screenshots/"),
    ("~/.cache/citadel/", "prepared and synthetic models; safe to delete while no engine runs"),
    ("/tmp/citadel-UID/", "the engine's socket"),
    ("CITADEL_HOME=DIR", "puts all of them but config/ and .env below one folder; also for a second engine"),
)
TOPICS: Final[dict[str, Topic]] = {
    "keys": Topic("what each key of the console does", lambda paper: key_lines(ACTIONS, paper.width)),
    "colours": Topic("what marks, words and colours mean", meaning_lines),
    "words": Topic("what slab, lease, resident, settle, regret and the like mean", word_lines),
    "placement": Topic("where models go, and who leaves for them", _PLACEMENT),
    "models": Topic("models of your own: adding, fetching, renaming", _MODELS),
    "bench": Topic("measuring how long switches take", _BENCH),
    "troubles": Topic("what a message means, and what to do", _TROUBLES),
    "files": Topic("where everything is kept", _FILES),
}
