"""What comes behind the transformer of an embedding model: pooling, where the tokens are, and then dense layers, norms and unit
length, in float32 on the host. Those are small, take nothing of the device, and wait for no slab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias, assert_never

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn import functional

from engine.weights.errors import BadCheckpoint
from engine.weights.sentence_files import (
    MODULE_WEIGHTS,
    Dense,
    LayerNorm,
    Normalize,
    Pooling,
    PoolingMode,
    SentenceFormat,
)

_FEWEST_TOKENS: Final = 1e-9
_SMALLEST_NORM: Final = 1e-12

Step: TypeAlias = Callable[[torch.Tensor], torch.Tensor]


class ModulesBehind:
    """The modules of one checkpoint, ready to run."""

    def __init__(self, folder: Path, form: SentenceFormat) -> None:
        """Raises BadCheckpoint when weights of theirs are missing, or not of the shapes that their configuration says."""
        pooling, *others = form.modules
        assert isinstance(pooling, Pooling)
        self.format: Final = form
        self._pooling: Final = pooling
        self._steps: Final = tuple(_step(folder, module) for module in others)

    def vectors(self, hidden: torch.Tensor, mask: torch.Tensor, prompt_tokens: Sequence[int]) -> torch.Tensor:
        """A float32 row on the host for each row of hidden states, which begins with so many tokens of a prompt."""
        rows = pool(hidden, mask, self._pooling, prompt_tokens).float().cpu()
        for step in self._steps:
            rows = step(rows)
        return rows

    def shortened(self, vectors: torch.Tensor, dimensions: int | None) -> torch.Tensor:
        """The first `dimensions` figures of each, of unit length where the whole has."""
        if dimensions is None or dimensions == vectors.shape[1]:
            return vectors
        return _to_unit_length(vectors[:, :dimensions]) if self.format.normalizes else vectors[:, :dimensions]


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: Pooling, prompt_tokens: Sequence[int] = ()) -> torch.Tensor:
    """One vector a row: that of each mode, side by side. `mask` is 1 where there is no padding, on whichever side that is."""
    before = mask
    if any(prompt_tokens) and not pooling.include_prompt:
        mask = mask * (_numbered(mask) > torch.tensor(prompt_tokens, device=mask.device).unsqueeze(1))
    return torch.cat([_pool(hidden, mask, before, mode).float() for mode in pooling.modes], dim=1)


def _pool(hidden: torch.Tensor, mask: torch.Tensor, before: torch.Tensor, mode: PoolingMode) -> torch.Tensor:
    weights = mask.unsqueeze(-1)
    match mode:
        case "cls":
            return hidden[torch.arange(len(hidden), device=hidden.device), mask.int().argmax(dim=1)]
        case "lasttoken":
            last = mask.shape[1] - 1 - mask.int().flip(1).argmax(dim=1)
            return hidden[torch.arange(len(hidden), device=hidden.device), last]
        case "max":
            return hidden.masked_fill(weights == 0, float("-inf")).max(dim=1).values
        case "mean":
            return _sum(hidden, weights) / weights.sum(dim=1).clamp(min=_FEWEST_TOKENS)
        case "mean_sqrt_len_tokens":
            return _sum(hidden, weights) / weights.sum(dim=1).clamp(min=_FEWEST_TOKENS).sqrt()
        case "weightedmean":
            # a token weighs as much as its number in the text, the prompt's counted
            weights = weights * _numbered(before).unsqueeze(-1)
            return _sum(hidden, weights) / weights.sum(dim=1).clamp(min=_FEWEST_TOKENS)
        case _:
            assert_never(mode)


def _sum(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Over the tokens, in float32: half precision overflows."""
    return (hidden * weights).sum(dim=1, dtype=torch.float32)


def _numbered(mask: torch.Tensor) -> torch.Tensor:
    """The tokens of each row counted from 1, padding on the left left out."""
    positions = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return (positions - mask.int().argmax(dim=1, keepdim=True)).clamp(min=0)


# ── behind the pooling ───────────────────────────────────────────────────────────────────────────


def _step(folder: Path, module: Pooling | Dense | LayerNorm | Normalize) -> Step:
    match module:
        case Dense():
            return _dense(folder / module.folder / MODULE_WEIGHTS, module)
        case LayerNorm():
            path, shape = folder / module.folder / MODULE_WEIGHTS, (module.dimension,)
            weights = _load(path, {"norm.weight": shape, "norm.bias": shape})
            return lambda rows: functional.layer_norm(rows, shape, weights["norm.weight"], weights["norm.bias"])
        case Normalize():
            return _to_unit_length
        case Pooling():
            raise BadCheckpoint(f"{folder} asks for a pooling of vectors that were pooled")
        case _:
            assert_never(module)


def _dense(path: Path, module: Dense) -> Step:
    wide, narrow = module.in_features, module.out_features
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (narrow, wide)}
    if module.bias:
        shapes["linear.bias"] = (narrow,)
    if module.use_residual and wide != narrow:
        shapes["residual.weight"] = (narrow, wide)
    weights = _load(path, shapes)
    activate: Step = getattr(torch.nn, module.activation)()

    def step(rows: torch.Tensor) -> torch.Tensor:
        made = activate(functional.linear(rows, weights["linear.weight"], weights.get("linear.bias")))
        if not module.use_residual:
            return made
        residual = weights.get("residual.weight")
        return made + (rows if residual is None else functional.linear(rows, residual))

    return step


def _load(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """The tensors of the file, in float32; those and no others."""
    try:
        found = {name: tensor.float() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise BadCheckpoint(f"{path} can't be read: {error}; fetch it again") from error
    if {name: tuple(tensor.shape) for name, tensor in found.items()} != shapes:
        wanted = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise BadCheckpoint(f"{path} does not hold what its config.json says: {wanted}; fetch it again")
    return found


def _to_unit_length(rows: torch.Tensor) -> torch.Tensor:
    return functional.normalize(rows, dim=1, eps=_SMALLEST_NORM)
