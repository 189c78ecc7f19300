"""What each kind of task needs of the worker: the class that its checkpoints are loaded as, and who runs its models.

A new task is entered here. Neither those who bring models to the device nor those who prepare them know one task from another.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedTokenizerBase

from engine.core.models import Limits
from engine.core.tasks import TaskKind
from engine.weights.heads import read_head
from engine.weights.sentence_files import read_sentence_format
from engine.weights.sequence_limits import own_limit, positions_of
from engine.worker.embedding import Embedder, encoder_class
from engine.worker.generation import Generator, decoder_class
from engine.worker.judging import Classifier, Judge, Reranker
from engine.worker.lanes import Runner
from engine.worker.running import RunMemory
from engine.worker.sentence_modules import ModulesBehind
from engine.worker.skeleton import Skeleton, generation_settings

MakeRunner: TypeAlias = Callable[[Skeleton, PreTrainedTokenizerBase, Limits, RunMemory], Runner]


class TaskSupport(Struct, frozen=True):
    """What one kind of task needs."""

    model_class: Callable[[PreTrainedConfig], Any]
    """Whose `from_pretrained` loads a checkpoint of that configuration for it; transformers' classes share no type."""
    make_runner: MakeRunner
    read_settings: Callable[[Path], object]
    """Reads what its runner goes by, from a checkpoint's files; raises BadCheckpoint. Tried before any weight is read."""


def _embedder(skeleton: Skeleton, tokenizer: PreTrainedTokenizerBase, limits: Limits, memory: RunMemory) -> Runner:
    behind = ModulesBehind(skeleton.folder, read_sentence_format(skeleton.folder))
    return Embedder(skeleton.module, tokenizer, behind, _at_most_own(skeleton, limits, "embedding"), memory)


def _generator(skeleton: Skeleton, tokenizer: PreTrainedTokenizerBase, limits: Limits, memory: RunMemory) -> Runner:
    return Generator(skeleton.module, tokenizer, limits, memory)


def _reranker(skeleton: Skeleton, tokenizer: PreTrainedTokenizerBase, limits: Limits, memory: RunMemory) -> Runner:
    head = read_head(skeleton.folder)
    own = _at_most_own(skeleton, limits, "rerank")
    return Reranker(Judge(skeleton.module, tokenizer, head, own, memory), head)


def _classifier(skeleton: Skeleton, tokenizer: PreTrainedTokenizerBase, limits: Limits, memory: RunMemory) -> Runner:
    head = read_head(skeleton.folder)
    own = _at_most_own(skeleton, limits, "classify")
    return Classifier(Judge(skeleton.module, tokenizer, head, own, memory), head)


def _at_most_own(skeleton: Skeleton, limits: Limits, task: TaskKind) -> Limits:
    """The limits, with no more tokens than the model takes by its own files."""
    positions = positions_of(skeleton.module.config.to_dict()).positions  # of the class, where the file leaves them out
    own = (limits.max_sequence, positions, own_limit(skeleton.folder, task).tokens)
    return replace(limits, max_sequence=min(tokens for tokens in own if tokens))


SUPPORT: Final[dict[TaskKind, TaskSupport]] = {
    "embedding": TaskSupport(encoder_class, _embedder, read_sentence_format),
    "generation": TaskSupport(decoder_class, _generator, generation_settings),
    "rerank": TaskSupport(lambda _: AutoModelForSequenceClassification, _reranker, read_head),
    "classify": TaskSupport(lambda _: AutoModelForSequenceClassification, _classifier, read_head),
}
