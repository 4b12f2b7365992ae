"""The tab Train: a training is started, watched, stopped and resumed on the page, and goes on without it."""

import shutil

import pytest

from analysis.started_runs import view_training
from engine.runtime.background import is_running, stop
from tests.app.test_in_browser import browser as browser
from tests.app.test_in_browser import opened
from tests.engine.conftest import workshop as workshop

gradio_client = pytest.importorskip("gradio_client", reason="the package gradio is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # gradio's client leaves its loop to the collector
SETTINGS = ["signs_tiny.yaml", "yolov5n.yaml", "", "", 3, 64, 4, "cpu", "exp"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({0: ""}, "Choose a data set"),
        ({0: "/etc/passwd"}, "lies outside"),
        ({1: "../app.yaml"}, "lies outside|no such file"),
        ({3: "SEE@neck"}, "did you mean"),
        ({4: 0}, "minimum"),
        ({8: "../../up"}, "without slashes"),
    ],
)
def test_mistakes_are_one_message_and_nothing_starts(client, folder, change, said) -> None:
    settings = [change.get(index, value) for index, value in enumerate(SETTINGS)]
    with pytest.raises(gradio_client.exceptions.AppError, match=said):
        client.predict(*settings, api_name="/train_start")
    assert not list(folder.glob("runs/train/*"))


@pytest.mark.slow
def test_a_training_is_started_watched_stopped_and_resumed(browser, address, folder, workshop) -> None:
    for name in ("set.yaml", "nano.yaml"):
        shutil.copy(workshop / name, folder / f"tiny_{name}")
    run = folder / "runs/train/watched"
    with opened(browser, address, "en-US") as page:
        page.get_by_role("tab", name="Train").click()
        panel = page.get_by_role("tabpanel").filter(has=page.get_by_label("Name of the run"))
        for label, text in (("Data set (YAML)", "tiny_set.yaml"), ("Model (YAML)", "tiny_nano.yaml")):
            panel.get_by_label(label).fill(text)
            panel.get_by_label(label).press("Enter")
        given = {"Epochs": "200", "Image size, px": "64", "Batch": "2", "Device": "cpu", "Name of the run": "watched"}
        for label, text in given.items():
            panel.get_by_label(label).fill(text)
            panel.get_by_label(label).press("Tab")
        panel.get_by_role("button", name="Start").click()
        panel.get_by_text("2 of 200 epochs").wait_for(timeout=120_000)
        panel.locator("svg, canvas").first.wait_for()
    assert is_running(run)  # the page is gone
    with opened(browser, address, "zh-CN") as page:
        page.get_by_role("tab", name="训练").click()
        panel = page.get_by_role("tabpanel").filter(has=page.get_by_label("运行名称"))
        panel.get_by_label("运行", exact=True).click()
        page.get_by_role("option", name="runs/train/watched").click()
        panel.get_by_text("运行中").wait_for()
        panel.get_by_role("button", name="停止").click()
        panel.get_by_text("已停止").wait_for(timeout=60_000)
        assert (run / "weights/last.pt").is_file()
        done = view_training(run).epochs[0]
        panel.get_by_role("button", name="继续训练").click()
        panel.get_by_text(f"已完成 {done + 1}/200 轮").wait_for(timeout=120_000)
    stop(run)
