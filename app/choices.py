"""The lists that the tabs share, from which models, weights, data sets and runs are chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gradio as gr

from app.page import Page
from files.find import ROOT

_OWN = ROOT / "models"


def _list(
    page: Page, label: str, listed: Callable[[], list[str]], *, value: str = "", blank: bool = False
) -> gr.Dropdown:
    """A list that is read anew whenever it is opened."""

    def choices() -> list[tuple[str, str]]:
        return [*([("-", "")] if blank else []), *((name, name) for name in listed())]

    found = gr.Dropdown(choices(), value=value, label=page.say(label), allow_custom_value=True)
    found.focus(lambda: gr.Dropdown(choices=choices()), None, found, api_visibility="private")
    return found


def model_list(page: Page) -> gr.Dropdown:
    """Model YAMLs, those of the project first; empty for the model inside the weights."""
    own = sorted(file.name for file in _OWN.glob("*.yaml"))
    return _list(page, "cfg", lambda: [*own, *page.folders.files("*.yaml")], value="yolov5n.yaml", blank=True)


def weights_list(page: Page, first: str = "") -> gr.Dropdown:
    """Weights, empty for none; `first` is the name of those that are chosen where they are there."""

    def listed() -> list[str]:
        return [name for name in page.folders.weights() if name.endswith(".pt")]

    chosen = next((name for name in listed() if first and Path(name).name == first), "")
    return _list(page, "start_weights", listed, value=chosen, blank=True)


def data_list(page: Page) -> gr.Dropdown:
    """Dataset YAMLs."""
    return _list(page, "data", lambda: page.folders.files("*.yaml", "data/*.yaml"))


def run_list(page: Page, label: str, kind: str, file: str = "") -> gr.Dropdown:
    """Folders below runs/train or runs/compare, the newest first: those that hold a file, if one is named."""
    patterns = [f"{place}{kind}/*{file}" for place in ("", "runs/")]
    return _list(page, label, lambda: page.folders.files(*patterns))


def model(page: Page, text: str | None) -> str:
    """The path of a model YAML that was chosen; empty for none.

    Raises:
        ValueError: If it lies outside the folders.
    """
    own = _OWN / (text or "")
    return str(own if own.parent == _OWN and own.is_file() else page.folders.path(text)) if text else ""


def path(page: Page, text: str | None) -> str:
    """The path of another file that was chosen; empty for none.

    Raises:
        ValueError: If it lies outside the folders.
    """
    return str(page.folders.path(text)) if text else ""


def project(page: Page, kind: str) -> Path:
    """Where new runs go: runs/train or runs/compare here, of the repository, or in the first folder given."""
    places = [Path().resolve() / "runs" / kind, ROOT / "runs" / kind]
    return next((place for place in places if page.folders.holds(place)), page.folders.roots[0] / "runs" / kind)
