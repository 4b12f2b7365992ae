"""The tab Compare: reports opened in place, and comparisons estimated, started, stopped and gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from analysis.started_runs import estimate_comparison, resume_comparison, start_comparison, view_comparison
from app.choices import data_list, model, model_list, path, project, run_list, weights_list
from app.page import Page
from engine.runtime.background import stop
from models.attention import list_attention

_EVERY_S = 3


@dataclass(frozen=True)
class _Compare:
    """The tab's handlers; `run` is the name of a comparison's folder."""

    page: Page

    def folder(self, run: str | None) -> Path:
        return self.page.folders.path(run or "")

    def words(
        self, data: str | None, cfg: str | None, weights: str | None, attention: Sequence[str], at: str, seeds: float,
        epochs: float, size: float, batch: float, device: str, name: str,
    ) -> list[str]:  # fmt: skip
        """The command line of compare.py."""
        if not data:
            raise ValueError(self.page.say("no_data"))
        if not name.strip() or Path(name).name != name or name.startswith("-"):
            raise ValueError(self.page.say("bad_name", name=name))
        model_yaml, start = model(self.page, cfg), path(self.page, weights)
        return [
            *("--data", path(self.page, data)),
            *(["--cfg", model_yaml] if model_yaml else []),
            *(["--weights", start] if start else []),
            *("--attention", *attention),
            *("--at", *(at.split() or ["neck"])),
            *("--seeds", str(int(seeds)), "--epochs", str(int(epochs)), "--imgsz", str(int(size))),
            *("--batch-size", str(int(batch)), *(["--device", device.strip()] if device.strip() else [])),
            *("--project", str(project(self.page, "compare")), "--name", name),
        ]

    def estimate(self, *settings: Any) -> str:  # noqa: ANN401  (the settings)
        """What the dry run says."""
        return estimate_comparison(self.words(*settings))

    def start(self, *settings: Any) -> Any:  # noqa: ANN401  (the settings, an update)
        """Start -> its folder, chosen in the list."""
        chosen = self.page.folders.name(start_comparison(self.words(*settings)))
        return gr.Dropdown(choices=[chosen], value=chosen)

    def stop(self, run: str | None) -> None:
        stop(self.folder(run))

    def resume(self, run: str | None) -> None:
        resume_comparison(self.folder(run))

    def view(self, run: str | None) -> tuple[Any, ...]:
        """How it stands -> line, log, stop, go on, timer."""
        if not run:
            return ("", "", *(gr.update(interactive=False),) * 2, gr.Timer(active=False))
        view = view_comparison(self.folder(run))
        state = self.page.say("running" if view.running else "not_running")
        counts = ", ".join(f"{count} {self.page.say(name)}" for name, count in view.runs.items())
        buttons = gr.update(interactive=view.running), gr.update(interactive=view.resumable)
        return f"**{state}**; {counts or '-'}", view.log, *buttons, gr.Timer(active=view.running)

    def report(self, file: str | None) -> str:
        """A report's page, in a frame of its own."""
        if not file:
            return ""
        page = self.page.folders.path(file)
        if page.name != "index.html":
            raise ValueError(self.page.say("no_report", file=file))
        text = escape(page.read_text(encoding="utf-8", errors="replace"))
        title = escape(self.page.say("report"))
        frame = f'<iframe title="{title}" sandbox="allow-scripts" style="width:100%;height:75vh;border:0" srcdoc="'
        return f'{frame}{text}"></iframe>'


def build(page: Page) -> None:
    """Put the tab's parts where it is called."""
    say, do = page.say, _Compare(page)
    with gr.Tabs():
        with gr.Tab(say("reports")):
            report = run_list(page, "report", "compare", "/index.html")
            report.change(page.told(do.report), report, gr.HTML(), api_name="compare_report")
        with gr.Tab(say("new_comparison")), gr.Row():
            with gr.Column(scale=2, min_width=300):
                settings = _settings(page)
                guess, begin = gr.Button(say("estimate")), gr.Button(say("start"), variant="primary")
            with gr.Column(scale=3, min_width=320):
                estimate = gr.Textbox(label=say("estimate"), lines=4, interactive=False)
                run = run_list(page, "comparison", "compare")
                line = gr.Markdown()
                with gr.Row():
                    end = gr.Button(say("stop"), variant="stop", interactive=False)
                    again = gr.Button(say("go_on"), interactive=False)
                log = gr.Textbox(label=say("log"), lines=12, max_lines=12, interactive=False, autoscroll=True)
    timer = gr.Timer(_EVERY_S, active=False)
    shown = [line, log, end, again, timer]
    guess.click(page.told(do.estimate), settings, estimate, api_name="compare_estimate")
    begin.click(page.told(do.start), settings, run, api_name="compare_start")
    gr.on([run.change, timer.tick], page.told(do.view), run, shown, api_name="compare_view", show_progress="hidden")
    for button, does, api_name in ((end, do.stop, "compare_stop"), (again, do.resume, "compare_go_on")):
        pressed = button.click(page.told(does), run, None, api_name=api_name)
        pressed.success(page.told(do.view), run, shown, api_visibility="private")


def _settings(page: Page) -> list[Component]:
    say = page.say
    lists = [data_list(page), model_list(page), weights_list(page)]
    attention = gr.Dropdown(
        ["none", *list_attention()], value=["none", "SE", "CBAM"], multiselect=True, allow_custom_value=True,
        label=say("attentions"), info=say("attentions_info"),
    )  # fmt: skip
    at = gr.Textbox("neck", label=say("places"), info=say("at_info"))
    with gr.Row():
        figures = [
            gr.Number(value, label=say(name), precision=0, minimum=1, min_width=90)
            for name, value in (("seeds", 3), ("epochs", 50), ("size", 320), ("batch", 16))
        ]
    with gr.Row():
        device = gr.Textbox("", label=say("device"), placeholder="cpu, 0", min_width=120)
        name = gr.Textbox("exp", label=say("name"), min_width=120)
    return [*lists, attention, at, *figures, device, name]
