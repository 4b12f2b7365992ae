"""One Python file with this project's attention modules, for those who read a file of `--include yolov5`.

The sources are joined as they are, each after those that it needs: imports among them go, names that two of them define
are told apart, and what only builds modules by name here (`register`) is left out. It needs torch and nothing else.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from files.atomic import write_atomically
from models.attention.parts.registry import ATTENTION
from models.weights.write_original import RECEIVER

_BLOCKS = ("convolutions", "deformable", "joins", "more_stages", "reparameterised", "resampling", "slim_neck")
"""The first for a bottleneck with attention inside, the others for what YOLOv5 does not have."""

_PARTS = "models.attention.parts"
_REGISTRY = f"{_PARTS}.registry"
_GIVEN = {("models.blocks.batch_norm", "BatchNorm2d"): "nn.BatchNorm2d"}  # whose figures ours has, in another order
_TIMM = "models.attention.timm_layer"  # whose layers are another package's
_HEADER = '''"""The attention modules of YOLOv5-attention, for weights that its export.py wrote with `--include yolov5`.

Copy this file into the folder `models` of a YOLOv5 repository; `attempt_load` and `torch.load` then find the classes.
Written by export.py from the project's sources. Licence: AGPL-3.0.
"""

from __future__ import annotations
'''


class _Source(NamedTuple):
    """A module's text and what it takes from other modules of this project."""

    module: str
    lines: list[str]
    tree: ast.Module
    defined: frozenset[str]
    imported: dict[str, tuple[str, str]]  # name here -> module and name there; a module itself has no name there


class _Edit(NamedTuple):
    line: int
    start: int
    end: int
    text: str


def tell_receiver(needed: Iterable[str], folder: Path) -> None:
    """Write the file where it is needed, and say which files the reader's repository lacks.

    Args:
        needed: As `write_original` gives them.
        folder: Where the file goes.
    """
    for module in needed:
        if module == RECEIVER:
            file = folder / f"{module.removeprefix('models.')}.py"
            write_atomically(file, receiver_module())
            print(f"YOLOv5 lacks the attention modules: copy {file} into the folder models/ of its repository")
        else:
            name = f"{module.replace('.', '/')}.py"
            print(f"YOLOv5 lacks your own classes: its repository needs them in {name}")


@cache
def receiver_module() -> str:
    """The text of the file."""
    sources: dict[str, _Source] = {}
    blocks = {f"models.blocks.{name}" for name in _BLOCKS}
    for module in sorted({cls.__module__ for cls in ATTENTION.values()} | blocks):
        if module != _TIMM:
            _collect(module, sources)
    owners: dict[str, list[str]] = {}
    for source in sources.values():
        for name in source.defined:
            owners.setdefault(name, []).append(source.module)
    shared = {name for name, modules in owners.items() if len(modules) > 1}
    return "\n\n".join([_HEADER, *(_joined(source, shared) for source in sources.values())])


def _collect(module: str, sources: dict[str, _Source]) -> None:
    """Read a module, after those it imports."""
    if module in sources:
        return
    source = _read(module)
    for needed, name in source.imported.values():
        if needed != _REGISTRY and (needed, name) not in _GIVEN and not _all_given(needed, name):
            _collect(needed, sources)
    sources[module] = source


def _all_given(module: str, name: str) -> bool:
    return not name and any(module == given for given, _ in _GIVEN)


def _read(module: str) -> _Source:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    tree = ast.parse(text)
    imported = {
        alias.asname or alias.name: _defining(str(node.module), alias.name)
        for node in _imports(tree)
        for alias in node.names
    }
    return _Source(module, text.splitlines(), tree, frozenset(_definitions(tree)), imported)


def _imports(tree: ast.Module) -> Iterator[ast.ImportFrom]:
    """Those of this project."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("models"):
            yield node


def _definitions(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _defining(module: str, name: str) -> tuple[str, str]:
    """The module that defines what is imported from one that may only hand it on; no name for a module itself."""
    spec = find_spec(module)
    if spec is not None and spec.submodule_search_locations is not None:
        if find_spec(f"{module}.{name}") is not None:
            return f"{module}.{name}", ""
        return _read(module).imported[name]
    return module, name


def _joined(source: _Source, shared: set[str]) -> str:
    """A source without imports of this project, its names as they are in the joined file."""
    lines = list(source.lines)
    for edit in sorted(_edits(source, shared), reverse=True):
        encoded = lines[edit.line - 1].encode()  # columns count bytes
        lines[edit.line - 1] = (encoded[: edit.start] + edit.text.encode() + encoded[edit.end :]).decode()
    dropped: list[ast.stmt | ast.expr] = list(_imports(source.tree))
    for node in source.tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            dropped.append(node)
        if isinstance(node, ast.ClassDef):
            dropped += [one for one in node.decorator_list if isinstance(one, ast.Call) and _is_register(one)]
    if ast.get_docstring(source.tree) is not None:
        dropped.append(source.tree.body[0])
    gone = {line for node in dropped for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    kept = "\n".join(line for number, line in enumerate(lines, 1) if number not in gone).strip("\n")
    return f"# {source.module}\n{kept}"


def _is_register(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "register"


def _edits(source: _Source, shared: set[str]) -> Iterator[_Edit]:
    here = {name: _final(source.module, name, shared) for name in source.defined}
    here |= {local: _final(*there, shared) for local, there in source.imported.items() if there[1]}
    whole = {local: module for local, (module, name) in source.imported.items() if not name}
    for node in source.tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and here[node.name] != node.name:
            start = node.col_offset + len("def " if isinstance(node, ast.FunctionDef) else "class ")
            yield _Edit(node.lineno, start, start + len(node.name), here[node.name])
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in whole:
            name = _final(whole[node.value.id], node.attr, shared)
            yield _Edit(node.lineno, node.col_offset, node.end_col_offset or 0, name)
        elif isinstance(node, ast.Name) and here.get(node.id, node.id) != node.id:
            yield _Edit(node.lineno, node.col_offset, node.end_col_offset or 0, here[node.id])


def _final(module: str, name: str, shared: set[str]) -> str:
    """A name as it stands in the joined file."""
    if (module, name) in _GIVEN:
        return _GIVEN[module, name]
    return f"{name}_of_{module.rpartition('.')[2]}" if name in shared else name
