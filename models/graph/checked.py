"""The checks that every layer list passes before it is used, and the rows to write instead where one fails.

In other implementations a row inserted by hand without renumbering builds without a word and trains to nothing.
Torch is imported only where it is needed: `checked` looks at indices alone.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.spec.model_spec import ModelSpec, SpecError, check_references
from models.spec.parse_layer_list import parse_spec

if TYPE_CHECKING:
    from models.graph.channels_and_strides import GraphRow

# By a spec's identity, while it lives: what inserts, builds, fills and writes a model asks for the same graph.
_graphs: dict[int, tuple[GraphRow, ...]] = {}


def checked_spec(data: Mapping[str, Any], file: str = "model") -> ModelSpec:
    """The spec of a complete layer list, after the checks of its indices; see `parse_spec`.

    Raises:
        ValueError: As `load_spec`.
    """
    return checked(parse_spec(data, file))


def checked(spec: ModelSpec) -> ModelSpec:
    """The spec, after the checks of its indices.

    Raises:
        ValueError: With the rows to paste, where an insertion without renumbering explains the mistake.
    """
    try:
        check_references(spec)
    except SpecError as error:
        from models.graph.renumbering_hint import explained  # needs torch, which a good file does not wait for

        raise explained(spec, error) from None
    return spec


def analyse(spec: ModelSpec) -> tuple[GraphRow, ...]:
    """Resolve channels and strides of every row, and check the graph; of one spec once.

    Raises:
        SpecError: A ValueError that names the file, the row, what was read, what was expected and the row to write.
    """
    if id(spec) not in _graphs:
        _graphs[id(spec)] = _analysed(spec)
        weakref.finalize(spec, _graphs.pop, id(spec))
    return _graphs[id(spec)]


def _analysed(spec: ModelSpec) -> tuple[GraphRow, ...]:
    from models.graph.channels_and_strides import resolve

    try:
        check_references(spec)
        return resolve(spec)
    except SpecError as error:
        from models.graph.renumbering_hint import explained

        raise explained(spec, error) from None
