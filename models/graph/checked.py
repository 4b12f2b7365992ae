"""The checks that every layer list passes before it is used, and the rows to write instead where one fails.

In other implementations a row inserted by hand without renumbering builds without a word and trains to nothing.
Torch is imported only where it is needed: `checked` looks at indices alone.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.graph.wiring import judge
from models.graph.wiring_report import wiring_error, wiring_notes
from models.spec.model_spec import ModelSpec, SpecError, check_references
from models.spec.parse_layer_list import parse_spec

if TYPE_CHECKING:
    from models.graph.channels_and_strides import GraphRow

# By a spec's identity, while it lives: what inserts, builds, fills and writes a model asks for the same graph.
_graphs: dict[int, tuple[GraphRow, ...]] = {}


def checked_spec(data: Mapping[str, Any], file: str = "model", origin: Path | None = None) -> ModelSpec:
    """The spec of a complete layer list, after the checks of its indices; see `parse_spec`.

    Args:
        data: The mapping.
        file: The file's name for messages.
        origin: The YAML itself, whose lines are named where rows are wrong.

    Raises:
        ValueError: As `load_spec`.
    """
    spec = parse_spec(data, file)
    verdict = judge(spec)
    if verdict.wrong:
        raise wiring_error(spec, verdict, origin)
    for note in wiring_notes(spec, verdict, origin):
        _warn_once(note)
    return checked(spec)


def checked_with_weights(spec: ModelSpec) -> ModelSpec:
    """The spec that weights were trained with: wrong wiring is theirs, so it is read as it stands, with a warning.

    Raises:
        ValueError: As `checked`.
    """
    verdict = judge(checked(spec))
    if verdict.wrong:
        _warn_once(
            f"{wiring_error(spec, verdict).problem}\nthe weights were trained with it, so it is read as it stands"
        )
    return spec


@cache
def _warn_once(text: str) -> None:
    """Warn, once in a process, however often a list is read."""
    logging.getLogger("models.wiring").warning(text)


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
