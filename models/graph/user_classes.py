"""The classes of the user that a model names, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from files.kinds import is_mapping
from models.attention.parts.registry import attention_class
from models.graph.module_names import inner_attention, is_known
from models.spec.model_spec import ModelSpec
from models.user_modules import class_file, find_class, loaded_files, shown_file

_OURS = ("models.attention.", "models.blocks.", "torch.")


def user_classes(spec: ModelSpec) -> dict[str, Path]:
    """The names of the user's classes in a model, those of attention inside C3 too, and the file of each."""
    found: dict[str, Path] = {}
    for layer in spec.layers[:-1]:
        inner = layer.options.get("attention", inner_attention(layer.module))
        for name in (layer.module, *(inner if is_mapping(inner) else [inner])):
            cls = (find_class(name) or attention_class(name)) if isinstance(name, str) else None
            if cls is not None and not cls.__module__.startswith(_OURS):
                found[name] = class_file(name, cls)
    return found


def user_files(spec: ModelSpec) -> list[str]:
    """The files of `load_modules` that a model needs."""
    return sorted({str(file) for file in user_classes(spec).values()}.intersection(loaded_files()))


def check_present(classes: Mapping[str, str], file: str) -> None:
    """Check that the classes of the user that a weights file needs are here.

    Args:
        classes: From the name of a class to the file that it came from, as `shown_file` gives it.
        file: The weights file, for the message.

    Raises:
        ValueError: If one is not; says where it came from and what to do.
    """
    for name, origin in classes.items():
        if is_known(name):
            continue
        remedy = f"name that file, --module {origin} (from Python: models.load_modules({origin!r}))"
        if "/" in origin:
            remedy = "copy the class into models/common.py here, or into a file named with --module"
        raise ValueError(f"{file}: needs the class {name} of {origin}, and weights files hold no code; {remedy}")


def origins(spec: ModelSpec) -> dict[str, str]:
    """`user_classes` with the files as they are shown, for a weights file."""
    return {name: shown_file(file) for name, file in user_classes(spec).items()}
