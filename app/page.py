"""What every tab is given, and how mistakes reach the user."""

from __future__ import annotations

import functools
import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from app.folders import Folders
from app.words import Words
from engine.detection.detector import Detector, load_model

MODEL = "model"  # `concurrency_id` of all that calls a network: one at a time, in the order asked for
BUTTONS: Any = ["download", "fullscreen"]  # of pictures; gradio's third one shares them on another machine
_KEPT_MODELS = 2


class Models:
    """The models that were asked for last, kept in memory."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], Detector] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, weights: Path) -> Detector:
        """A model, read anew if its file changed.

        Raises:
            ValueError: If the weights cannot be used.
        """
        key = (str(weights), weights.stat().st_mtime_ns)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = load_model(weights)
                while len(self._kept) > _KEPT_MODELS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


@dataclass(frozen=True)
class Page:
    """One language's page: `page.say("detect")` is a label in it."""

    say: Words
    folders: Folders = field(default_factory=Folders)
    models: Models = field(default_factory=Models)

    def told(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A handler whose ValueError or OSError is one message in the page; the server goes on."""

        def message(error: ValueError | OSError) -> gr.Error:
            return gr.Error(str(error), title=self.say("not_done"), duration=None, print_exception=False)

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def steps(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (any handler)
                try:
                    yield from function(*args, **kwargs)
                except (ValueError, OSError) as error:
                    raise message(error) from error

            return steps

        @functools.wraps(function)
        def once(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (any handler)
            try:
                return function(*args, **kwargs)
            except (ValueError, OSError) as error:
                raise message(error) from error

        return once
