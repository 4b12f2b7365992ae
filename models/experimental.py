"""`attempt_load` under YOLOv5's name, imported when it is asked for; see `utils`."""

from typing import Any


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the name stands for)
    if name != "attempt_load":
        raise AttributeError(
            f"'models.experimental' of this project has no {name!r}; `help(utils)` lists what there is"
        )
    from engine.inference.original_call import attempt_load

    return attempt_load
