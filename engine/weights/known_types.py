"""What the installed transformers knows of model types, read from its source: importing it would bring torch into the
engine, and takes seconds. Where another version keeps these things elsewhere, nothing is known, and a model's trouble
shows when it is prepared."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

Classes: TypeAlias = Mapping[str, tuple[str, ...]]
"""By model type, names of classes."""

_TABLES: Final = "_MAPPING_NAMES"
_AUTO: Final = ("auto_mappings.py", "configuration_auto.py", "modeling_auto.py")


@cache
def class_tables() -> Mapping[str, Classes]:
    """Tables of transformers' loaders, such as MODEL_FOR_CAUSAL_LM, with the classes that each has for a type. Empty when
    nothing is known."""
    root = _root()
    tables: dict[str, Classes] = {}
    for name in _AUTO if root else ():
        assert root is not None
        for node in _body(root / "models" / "auto" / name):
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=table)], value=ast.Call(args=[ast.List(elts=pairs)]))
                    | ast.AnnAssign(target=ast.Name(id=table), value=ast.Call(args=[ast.List(elts=pairs)]))
                ):
                    if table.endswith(_TABLES):
                        tables.setdefault(table.removesuffix(_TABLES), dict(_pairs(pairs)))
    return MappingProxyType(tables)


def known_classes(model_type: str) -> frozenset[str]:
    """All classes of the type, its configuration's too; empty when the type, or all, is unknown."""
    return frozenset(name for table in class_tables().values() for name in table.get(model_type, ()))


@cache
def default_sizes(model_type: str) -> Mapping[str, int]:
    """Whole numbers that a configuration of the type has when its file leaves them out."""
    root, names = _root(), class_tables().get("CONFIG", {}).get(model_type, ())
    stem = model_type.replace("-", "_")
    while root and stem:
        folder = root / "models" / stem
        for node in _body(folder / f"configuration_{stem}.py"):
            if isinstance(node, ast.ClassDef) and node.name in names:
                return MappingProxyType(dict(_whole_numbers(node)))
        stem = stem.rpartition("_")[0]
    return MappingProxyType({})


def _root() -> Path | None:
    spec = find_spec("transformers")
    return Path(spec.origin).parent if spec and spec.origin else None


def _body(path: Path) -> list[ast.stmt]:
    try:
        return ast.parse(path.read_bytes()).body
    except (OSError, ValueError, SyntaxError):
        return []


def _pairs(nodes: list[ast.expr]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in nodes:
        match node:
            case ast.Tuple(elts=[ast.Constant(value=str(model_type)), classes]):
                names = (part.value for part in ast.walk(classes) if isinstance(part, ast.Constant))
                yield model_type, tuple(name for name in names if isinstance(name, str))


def _whole_numbers(node: ast.ClassDef) -> Iterator[tuple[str, int]]:
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=int(value))):
                yield name, value
            case ast.FunctionDef(name="__init__", args=ast.arguments(args=names, defaults=defaults)):
                for argument, default in zip(reversed(names), reversed(defaults), strict=False):
                    if isinstance(default, ast.Constant) and isinstance(default.value, int):
                        yield argument.arg, default.value
