"""What a checkpoint asks for when it writes, as far as it is not carried out or can't be: told from its files alone, by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from engine.core.texts import quoted
from engine.weights.architecture import read_architecture
from engine.weights.checkpoint_json import CONFIG_FILE, read_json_object
from engine.weights.errors import BadCheckpoint

GENERATION_FILE: Final = "generation_config.json"
_NOT_CARRIED_OUT: Final[Mapping[str, tuple[Any, ...]]] = {
    "assistant_early_exit": (None,),
    "constraints": (None,),
    "dola_layers": (None,),
    "force_words_ids": (None,),
    "max_time": (None,),
    "num_beam_groups": (None, 1),
    "penalty_alpha": (None, 0),
    "prompt_lookup_num_tokens": (None,),
    "token_healing": (None, False),
    "use_mtp": (None, False),
}
"""Each with the values that ask for nothing: what transformers has as foreign code only, what needs another model, what changes
the prompt, what makes a text depend on the clock."""
_NUMBERS: Final = (
    *("temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"),
    *("repetition_penalty", "encoder_repetition_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"),
    *("num_beams", "length_penalty", "min_length", "min_new_tokens", "guidance_scale"),
)
_FORCED: Final = ("forced_bos_token_id", "forced_eos_token_id")


def check_writing_settings(folder: Path) -> None:
    """Raises BadCheckpoint, naming file and key, for the first setting that is not carried out, or that makes no sense."""
    # where transformers looks, too: in one of the two
    path = folder / (GENERATION_FILE if (folder / GENERATION_FILE).is_file() else CONFIG_FILE)
    settings = read_json_object(path)
    for name, harmless in _NOT_CARRIED_OUT.items():
        if (value := settings.get(name)) not in harmless:
            raise BadCheckpoint(f"{path} asks for {name}: {quoted(value)}, which is not done here; take it out")
    for name in _NUMBERS:
        value = settings.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise BadCheckpoint(
                f"{path} asks for {name}: {quoted(value)}, which is no number; write one, or take it out"
            )
    if settings.get("stop_strings") and (settings.get("num_beams") or 1) > 1:
        raise BadCheckpoint(
            f"{path} asks for num_beams and for stop_strings, and both at once are not done here; take one out"
        )
    for name in _FORCED:
        _check_forced(folder, path, name, settings.get(name))


def _check_forced(folder: Path, path: Path, name: str, value: Any) -> None:  # noqa: ANN401 - whatever the file has
    """A token that there isn't would end the worker of a card, and every model on it."""
    tokens = value if isinstance(value, list) else [] if value is None else [value]
    for token in tokens:
        vocabulary = read_architecture(folder).vocab
        if isinstance(token, bool) or not (isinstance(token, int) and 0 <= token < vocabulary):
            raise BadCheckpoint(
                f"{path} asks for {name}: {quoted(token)}, and the model has {vocabulary} tokens; mend it, or take it out"
            )
