"""Numbers for the stand-in's kernels: PyTorch's own CPU operators, on the bytes of the stand-in's cards.

PyTorch itself calls `start` (entry point `torch.backends`). Every operator that has a CUDA kernel first runs as it is, with all
that it allocates, copies and launches there; then its result is computed by the CPU's operator and put where the card's lies.
STANDIN_COMPUTE=0 leaves the kernels without effect. Kept apart: it is installed by itself, so that every process finds it.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Callable
from typing import Any, Final

import torch
from torch.utils._pytree import tree_flatten, tree_map

_LEFT: Final = {
    "aten::_conj_copy",
    "aten::_efficientzerotensor",
    "aten::_local_scalar_dense",
    "aten::_pin_memory",
    "aten::_record_stream",
    "aten::_reshape_alias",
    "aten::alias",
    "aten::as_strided",
    "aten::empty",
    "aten::empty_strided",
    "aten::is_pinned",
    "aten::is_set_to",
    "aten::record_stream",
    "aten::resize_",
    "aten::set_",
    "aten::squeeze",
    "aten::unfold",
    "aten::unsqueeze",
    "aten::view",
    "aten::view_as_complex",
    "aten::view_as_real",
}
"""Made of memory or of copies that the stand-in does by itself, or of views."""
_BY_VALUE: Final = {
    "aten::_unique2",
    "aten::bincount",
    "aten::equal",
    "aten::histc",
    "aten::index",
    "aten::is_nonzero",
    "aten::masked_select",
    "aten::multinomial",
    "aten::nonzero",
    "aten::pow.Scalar",
    "aten::repeat_interleave",
    "aten::tril_indices",
    "aten::triu_indices",
    "aten::unique_dim",
}
"""How large their results are, or what they are, depends on values, or nothing comes in: only the CPU's operator runs."""
_PRIVATE: Final = (
    "_dispatch_get_registrations_for_dispatch_key",
    "_dispatch_has_computed_kernel_for_dispatch_key",
    "_dispatch_keyset_full_after",
)
"""What is asked of torch._C, which no release promises."""

Operator = Any
"""An overload of an operator. PyTorch gives its types no names that can be written here."""
Kernel = Callable[..., Any]
"""Called with the dispatcher's keys first."""

_libraries: Final[list[torch.library.Library]] = []
"""Kept, since what a library registers goes with it."""


def start() -> None:
    """Put the CPU's operators behind the card's. Does nothing where the CUDA runtime is not the stand-in's."""
    if os.environ.get("STANDIN_COMPUTE", "1") == "0" or _alias() is None:
        return
    lacking = [name for name in _PRIVATE if not hasattr(torch._C, name)]
    if lacking:
        raise RuntimeError(f"the stand-in does not know torch {torch.__version__}: it lacks {', '.join(lacking)}")
    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    _libraries.append(library)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel is replaced, of each
        for name in torch._C._dispatch_get_registrations_for_dispatch_key("CUDA"):
            base = name.partition(".")[0]
            if name.startswith("aten::") and base not in _LEFT and "backward" not in name and "foreach" not in name:
                _replace(library, name, base)
    _replace_copies(library)
    _replace_attention(library, "_scaled_dot_product_efficient_attention", has_bias=True)
    _replace_attention(library, "_scaled_dot_product_flash_attention", has_bias=False)


def on_host(tensor: torch.Tensor) -> torch.Tensor:
    """The same bytes of a card, as the host's."""
    storage = tensor.untyped_storage()
    length = storage.nbytes()
    if not length or not tensor.numel():
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
    alias = _alias()
    address = alias(storage.data_ptr(), length) if alias is not None else None
    if address is None:
        raise RuntimeError(f"the stand-in has no memory at {storage.data_ptr():#x}")
    flat = torch.frombuffer((ctypes.c_char * length).from_address(address), dtype=torch.uint8).untyped_storage()
    bare = torch.empty(0, dtype=tensor.dtype).set_(flat, tensor.storage_offset(), tensor.shape, tensor.stride())
    return bare.conj() if tensor.is_conj() else bare


def _alias() -> Callable[[int, int], int | None] | None:
    """The runtime's way from a card's address to the host's; None where the runtime is not the stand-in's."""
    if torch.version.cuda is None:
        return None
    name = f"libcudart.so.{torch.version.cuda.partition('.')[0]}"
    alias = getattr(ctypes.CDLL(name, mode=os.RTLD_NOW), "standin_alias", None)
    if alias is not None:
        alias.restype = ctypes.c_void_p
        alias.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return alias


def _replace(library: torch.library.Library, name: str, base: str) -> None:
    try:
        found = _operator(name)
        kernel = _kernel(name)
    except (AttributeError, RuntimeError):
        return
    if not torch._C._dispatch_has_computed_kernel_for_dispatch_key(name, "CPU"):
        return
    by_value = base in _BY_VALUE or name in _BY_VALUE
    with_tensors = _with_tensors(found)

    def run(keys: Any, *args: Any, **kwargs: Any) -> Any:
        args = with_tensors(args)
        made = None if by_value else kernel(keys, *args, **kwargs)
        return _computed(found, made, by_value, args, kwargs)

    if by_value:
        library.impl(name, run, "CUDA", with_keyset=True)  # type: ignore[no-untyped-call]
    else:
        _put_before(library, name, kernel, run)


def _operator(name: str) -> Operator:
    operator, _, overload = name.partition("::")[2].partition(".")
    return getattr(getattr(torch.ops.aten, operator), overload or "default")


def _kernel(name: str) -> Kernel:
    """The card's own kernel, which ours calls. Raises RuntimeError where there is none."""
    if hasattr(torch.library, "get_kernel"):
        return torch.library.get_kernel(name, "CUDA").call_boxed
    operator = _operator(name)
    redispatch, with_tensors = operator.redispatch, _with_tensors(operator)
    after = torch._C._dispatch_keyset_full_after(torch._C.DispatchKey.BackendSelect)
    return lambda keys, *args, **kwargs: redispatch(keys & after, *with_tensors(args), **kwargs)


def _put_before(library: torch.library.Library, name: str, kernel: Kernel, run: Kernel) -> None:
    """Have `run` called for a card's tensors. A PyTorch that can't call a kernel that was replaced keeps it: ours lies before
    it, at the key that every call passes last."""
    if hasattr(torch.library, "get_kernel"):
        library.impl(name, run, "CUDA", with_keyset=True)  # type: ignore[no-untyped-call]
        return

    def choose(keys: Any, *args: Any, **kwargs: Any) -> Any:
        return (run if keys.has(torch._C.DispatchKey.CUDA) else kernel)(keys, *args, **kwargs)

    library.impl(name, choose, "BackendSelect", with_keyset=True)  # type: ignore[no-untyped-call]


def _with_tensors(operator: Operator) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """A number that stands for a tensor comes as a number, and kernels want a tensor that weighs as little as one."""
    places = {place for place, given in enumerate(operator._schema.arguments) if str(given.type) == "Tensor"}

    def change(args: tuple[Any, ...]) -> tuple[Any, ...]:
        if not any(place in places and isinstance(value, complex | float | int) for place, value in enumerate(args)):
            return args
        beside = next((value for value in args if isinstance(value, torch.Tensor)), torch.empty(0, dtype=torch.bool))
        return tuple(_tensor(value, beside) if place in places else value for place, value in enumerate(args))

    return change


def _tensor(value: Any, beside: torch.Tensor) -> Any:
    if not isinstance(value, complex | float | int):
        return value
    kind = torch.result_type(beside, value)
    is_exact = beside.dim() and beside.is_floating_point() and kind.is_floating_point
    return torch.scalar_tensor(value, dtype=torch.float64 if is_exact else kind)


def _replace_copies(library: torch.library.Library) -> None:
    """The copies that are more than one move of bytes are done by kernels."""
    kernel = _kernel("aten::copy_")

    def run(keys: Any, target: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
        kernel(keys, target, source, non_blocking)
        if target.numel() and not _is_one_move(target, source):
            torch.cuda.current_stream((target if target.is_cuda else source).device).synchronize()
            into = on_host(target) if target.is_cuda else target
            into.copy_(on_host(source) if source.is_cuda else source)
        return target

    _put_before(library, "aten::copy_", kernel, run)


def _is_one_move(target: torch.Tensor, source: torch.Tensor) -> bool:
    alike = target.dtype == source.dtype and target.shape == source.shape and target.stride() == source.stride()
    return alike and target.is_contiguous()


def _replace_attention(library: torch.library.Library, name: str, has_bias: bool) -> None:
    """A card's fused attention, which the CPU has under no such name: computed by products and a softmax."""
    kernel = _kernel(f"aten::{name}")

    def run(
        keys: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: Any, scale: float | None = None
    ) -> Any:
        made = kernel(keys, query, key, value, *rest, scale=scale)
        torch.cuda.current_stream(query.device).synchronize()
        # bias, whether the sums are wanted, dropout, causal; or dropout, causal, whether the mask is wanted
        given_or_not: list[Any] = [
            *rest,
            *([None, False, 0.0, False] if has_bias else [0.0, False, False])[len(rest) :],
        ]
        dropout, causal = given_or_not[2:4] if has_bias else given_or_not[:2]
        mask = on_host(given_or_not[0]) if has_bias and given_or_not[0] is not None else None
        grouped = key.shape[1] != query.shape[1]
        given = (on_host(query), on_host(key), on_host(value), mask, dropout, causal, None)
        out, _ = torch.ops.aten._scaled_dot_product_attention_math(*given, scale=scale, enable_gqa=grouped)
        on_host(made[0]).copy_(out)
        return made

    _put_before(library, f"aten::{name}", kernel, run)


def _computed(operator: Operator, made: Any, by_value: bool, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the operator gives on the CPU: put where the card's own result lies, or moved to the card."""
    made_tensors = _tensors(made)
    card = next((t.device for t in (*_tensors((args, kwargs)), *made_tensors) if t.is_cuda), None)
    card = card or torch.device("cuda", torch.cuda.current_device())
    torch.cuda.current_stream(card).synchronize()
    seen: dict[int, torch.Tensor] = {}

    def moved(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.is_cuda:
            return seen.setdefault(id(value), on_host(value))
        if isinstance(value, torch.device) and value.type == "cuda":
            return torch.device("cpu")
        return value

    if "generator" in kwargs:
        kwargs = {**kwargs, "generator": None}
    there = operator(*tree_map(moved, args), **tree_map(moved, kwargs))
    if by_value:
        return tree_map(lambda value: _to_card(value, card) if isinstance(value, torch.Tensor) else value, there)
    for target, value in zip(made_tensors, _tensors(there), strict=True):
        own = seen.get(id(target))
        if own is None:
            (on_host(target) if target.is_cuda else target).copy_(value)
        elif own is not value and own.data_ptr() != value.data_ptr():
            own.copy_(value)
    return made


def _tensors(values: Any) -> list[torch.Tensor]:
    return [value for value in tree_flatten(values)[0] if isinstance(value, torch.Tensor)]


def _to_card(value: torch.Tensor, card: torch.device) -> torch.Tensor:
    target = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=card)
    on_host(target).copy_(value)
    return target
