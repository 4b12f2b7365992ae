"""The tab Train: a training is started, watched, stopped and resumed; it is a process that survives the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from analysis.started_runs import CURVES, FAILED, RUNNING, STOPPED, resume_training, start_training, view_training
from app.choices import data_list, model, model_list, path, project, run_list, weights_list
from app.page import Page
from engine.drawing.figure_style import PALETTE
from engine.runtime.background import stop

_EVERY_S = 2
_COLOURS: dict[str, str] = dict(zip(CURVES, PALETTE, strict=False))
# The chart's own legend shows no names.
_LEGEND = " &emsp; ".join(f'<b style="color: {colour}">━</b>&nbsp;{name}' for name, colour in _COLOURS.items())


@dataclass(frozen=True)
class _Train:
    """The tab's handlers; `run` is the name of a run folder."""

    page: Page

    def folder(self, run: str | None) -> Path:
        return self.page.folders.path(run or "")

    def start(
        self, data: str | None, cfg: str | None, weights: str | None, attention: str, epochs: float, size: float,
        batch: float, device: str, name: str,
    ) -> Any:  # noqa: ANN401  (an update)  # fmt: skip
        """Start a run -> its folder, chosen in the list."""
        values = {
            "data": path(self.page, data),
            "cfg": model(self.page, cfg),
            "weights": path(self.page, weights),
            "attention": (attention,) if attention.strip() else (),
            "epochs": int(epochs),
            "imgsz": int(size),
            "batch_size": int(batch),
            "device": device.strip(),
        }
        if not values["data"]:
            raise ValueError(self.page.say("no_data"))
        if not name.strip() or Path(name).name != name:
            raise ValueError(self.page.say("bad_name", name=name))
        chosen = self.page.folders.name(start_training(values, project(self.page, "train"), name))
        return gr.Dropdown(choices=[chosen], value=chosen)

    def stop(self, run: str | None) -> None:
        stop(self.folder(run))

    def resume(self, run: str | None) -> None:
        resume_training(self.folder(run))

    def view(self, run: str | None) -> tuple[Any, ...]:
        """How a run stands -> line, losses, mAPs, log, stop, resume, timer."""
        if not run:
            return ("", None, None, "", *(gr.update(interactive=False),) * 2, gr.Timer(active=False))
        view = view_training(self.folder(run))
        done, asked = view.epochs
        line = self.page.say("run_line", state=self.page.say(view.state), done=done, asked=asked or "?")
        if view.left:
            line += self.page.say("run_left", left=view.left)
        if view.state == FAILED and view.log:
            line += f"\n\n`{view.log.splitlines()[-1]}`"
        curves = pd.DataFrame(view.curves(), columns=["epoch", "curve", "value", "loss"]).dropna()
        losses, scores = (curves[curves.loss.astype(bool) == wanted] for wanted in (True, False))
        running = view.state == RUNNING
        buttons = gr.update(interactive=running), gr.update(interactive=view.state == STOPPED)
        return line, losses, scores, view.log, *buttons, gr.Timer(active=running)


def build(page: Page) -> None:
    """Put the tab's parts where it is called."""
    say, do = page.say, _Train(page)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            data, cfg, weights = data_list(page), model_list(page), weights_list(page)
            attention = gr.Textbox(
                label=say("attention"), placeholder="CBAM@neck.P3,neck.P4", info=say("attention_info")
            )
            with gr.Row():
                epochs = gr.Number(100, label=say("epochs"), precision=0, minimum=1, min_width=90)
                size = gr.Number(640, label=say("size"), precision=0, minimum=32, min_width=90)
                batch = gr.Number(16, label=say("batch"), precision=0, minimum=1, min_width=90)
            with gr.Row():
                device = gr.Textbox("", label=say("device"), placeholder="cpu, 0", min_width=120)
                name = gr.Textbox("exp", label=say("name"), min_width=120)
            begin = gr.Button(say("start"), variant="primary")
        with gr.Column(scale=3, min_width=320):
            run = run_list(page, "run", "train")
            line = gr.Markdown()
            with gr.Row():
                end = gr.Button(say("stop"), variant="stop", interactive=False)
                again = gr.Button(say("resume"), interactive=False)
            with gr.Row():
                curves = [
                    gr.LinePlot(x="epoch", y="value", color="curve", title=say(name), label=say(name),
                        x_title=say("epoch"), y_title=" ", color_map=_COLOURS, colors_in_legend=[], height=240,
                        min_width=280)
                    for name in ("losses", "maps")
                ]  # fmt: skip
            gr.HTML(_LEGEND)
            log = gr.Textbox(label=say("log"), lines=12, max_lines=12, interactive=False, autoscroll=True)
    timer = gr.Timer(_EVERY_S, active=False)
    shown = [line, *curves, log, end, again, timer]
    settings = [data, cfg, weights, attention, epochs, size, batch, device, name]
    begin.click(page.told(do.start), settings, run, api_name="train_start")
    gr.on([run.change, timer.tick], page.told(do.view), run, shown, api_name="train_view", show_progress="hidden")
    for button, does, api_name in ((end, do.stop, "train_stop"), (again, do.resume, "train_resume")):
        pressed = button.click(page.told(does), run, None, api_name=api_name)
        pressed.success(page.told(do.view), run, shown, api_visibility="private")
