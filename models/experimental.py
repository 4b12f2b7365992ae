"""`attempt_load` under YOLOv5's name; it is in `engine`, above this room, so it is imported when asked for."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the name stands for)
    if name != "attempt_load":
        raise AttributeError(f"'models.experimental' has no {name!r} here; `help(utils)` lists what there is")
    return import_module("engine.inference.original_call").attempt_load
