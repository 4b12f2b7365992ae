"""The tab Insert: attention put into a layer list by a click, and what comes of it."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from analysis.graph_picture import graph_svg
from analysis.insertion_trial import InsertionTrial, base_spec, train_command, try_insertion
from app.choices import model, model_list, path, weights_list
from app.page import MODEL, Page
from models.attention import accepted_options, attention_summary, list_attention
from models.insertion.places import places, resolve_places

_FIRST, _FIRST_PLACES = "CBAM", ["neck.P3", "neck.P4", "neck.P5"]
_DATA = "signs.yaml"  # in the command, to be changed
_WIDTHS: tuple[list[str | int], list[str | int]] = ["40%", "24%", "36%"], ["15%", "15%", "70%"]
_PRESSED = """
const chosen = event => {
  const box = event.target.closest("[data-row]");
  if (!box || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
  event.preventDefault();
  trigger("click", {row: Number(box.dataset.row)});
};
element.addEventListener("click", chosen);
element.addEventListener("keydown", chosen);
"""


@dataclass(frozen=True)
class _Insert:
    """The tab's handlers; the settings are model YAML, weights, module, options and places."""

    page: Page

    def graph(self, cfg: str | None, weights: str | None, wanted: Sequence[str]) -> tuple[str, Any]:
        """The picture, and the places to choose from."""
        spec = base_spec(model(self.page, cfg), path(self.page, weights))
        known = places(spec)
        chosen = resolve_places([int(place) if place.isdecimal() else place for place in wanted], known, spec)
        listed = [*known, *(str(row) for row in range(len(spec.layers) - 1) if row not in known.values())]
        return graph_svg(spec, chosen), gr.Dropdown(choices=listed)

    def pick(self, cfg: str | None, weights: str | None, wanted: Sequence[str], event: gr.EventData) -> list[str]:
        """The places with the one that was clicked added, or taken out."""
        known = places(base_spec(model(self.page, cfg), path(self.page, weights)))
        names = {row: name for name, row in known.items()}
        name = names.get(int(event.row), str(event.row))
        return [place for place in wanted if place != name] if name in wanted else [*wanted, name]

    def takes(self, module: str) -> str:
        """The options of a module."""
        takes = ", ".join(f"{name}={value!r}" for name, value in accepted_options(module).items())
        return self.page.say("options_info", takes=takes or "-")

    def attempt(
        self, cfg: str | None, weights: str | None, module: str, options: str, wanted: Sequence[str]
    ) -> Generator[tuple[Any, ...], None, None]:
        """What comes of it -> line, costs, moved rows, tensors, YAML, its file, command."""
        if not wanted:
            raise ValueError(self.page.say("no_place"))
        model_yaml, start = model(self.page, cfg), path(self.page, weights)
        request = f"{module}({options})@{','.join(wanted)}"
        trial = try_insertion(base_spec(model_yaml, start), request, start or None)
        command = train_command(trial, cfg=model_yaml and (cfg or ""), weights=start and (weights or ""), data=_DATA)
        line = self.page.say("identical" if trial.identical else "not_identical")
        stem = Path(model_yaml or start).stem
        with tempfile.TemporaryDirectory() as folder:  # gradio copies the file while this waits
            file = Path(folder, f"{stem}_{module.lower()}.yaml")
            file.write_text(trial.yaml, encoding="utf-8")
            told = str(trial.transfer.overview)
            yield line, self.costs(trial), _rows(trial), told, trial.yaml, str(file), command

    def costs(self, trial: InsertionTrial) -> list[list[str]]:
        """Base and changed model, a row a figure."""
        return [
            [self.page.say(name), *_figures(getattr(trial.base, name), getattr(trial.changed, name), unit, form)]
            for name, unit, form in (("parameters", 1, ",.0f"), ("macs", 1e6, ",.1f"), ("latency_ms", 1, ",.1f"))
        ]


def _figures(first: float | None, second: float | None, unit: float, form: str) -> list[str]:
    if first is None or second is None:
        return ["?", "?"]
    return [f"{first / unit:{form}}", f"{second / unit:{form}} ({(second / first - 1) * 100:+.1f} %)"]


def _rows(trial: InsertionTrial) -> list[list[str]]:
    return [
        ["+" if row.old is None else str(row.old), str(row.new), f"{row.before} → {row.text}".removeprefix(" → ")]
        for row in trial.rows
    ]


def build(page: Page) -> None:
    """Put the tab's parts where it is called."""
    say, do = page.say, _Insert(page)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            cfg, weights = model_list(page), weights_list(page, "yolov5n.pt")
            modules = [(f"{name}: {attention_summary(name).split(': ', 1)[-1]}", name) for name in list_attention()]
            module = gr.Dropdown(modules, value=_FIRST, label=say("module"))
            options = gr.Textbox(label=say("options"), placeholder="reduction=8", info=do.takes(_FIRST))
            where = gr.Dropdown(
                _FIRST_PLACES, value=_FIRST_PLACES, multiselect=True, allow_custom_value=True,
                label=say("places"), info=say("places_info"),
            )  # fmt: skip
            run = gr.Button(say("try"), variant="primary")
        with gr.Column(scale=2, min_width=320):
            gr.Markdown(say("graph_info"))
            graph = gr.HTML(js_on_load=_PRESSED, elem_id="insert-graph")
        with gr.Column(scale=3, min_width=320):
            line = gr.Markdown()
            headers = [say("figure"), say("base"), say("changed")]
            costs = gr.Dataframe(
                headers=headers, label=say("costs"), interactive=False, wrap=True, column_widths=_WIDTHS[0]
            )
            headers = [say("old_row"), say("new_row"), say("row")]
            rows = gr.Dataframe(
                headers=headers,
                label=say("rows"),
                interactive=False,
                wrap=True,
                max_height=300,
                column_widths=_WIDTHS[1],
            )
            tensors = gr.Textbox(label=say("tensors"), lines=3, interactive=False)
            command = gr.Textbox(label=say("command"), lines=2, interactive=False, buttons=["copy"])
            file = gr.DownloadButton(say("download_yaml"))
            with gr.Accordion(say("yaml"), open=False):
                text = gr.Code(label=say("yaml"), language="yaml", interactive=False)
    base, drawn = [cfg, weights], [graph, where]
    settings, results = [*base, module, options, where], [line, costs, rows, tensors, text, file, command]
    alike: dict[str, Any] = {"concurrency_id": MODEL, "concurrency_limit": 1}
    gr.on([cfg.change, weights.change, where.change], page.told(do.graph), [*base, where], drawn, api_name="graph")
    gr.on(None, page.told(do.graph), [*base, where], drawn, api_visibility="private")
    module.change(lambda chosen: gr.Textbox("", info=do.takes(chosen)), module, options, api_visibility="private")
    picked = graph.click(page.told(do.pick), [*base, where], where, api_visibility="private")
    picked.success(page.told(do.attempt), settings, results, api_visibility="private", **alike)
    gr.on([run.click, options.submit], page.told(do.attempt), settings, results, api_name="insert", **alike)
