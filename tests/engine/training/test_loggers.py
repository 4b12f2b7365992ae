"""Where figures go besides results.csv: read back with the readers of TensorBoard and MLflow themselves."""

import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import yaml

from data.images import decode_image, read_image
from engine.config.train_request import ResumeRequest, parse_train_args
from engine.training import loggers
from engine.training.results_csv import ResultsFile
from engine.training.run_training import train
from tests.support.tiny_runs import stop_in_epoch

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def tensorboard_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def results(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The figures of results.csv in TensorBoard's form."""
    rows = ResultsFile(folder / "results.csv").rows()
    names = [name for name in rows[0] if name != "epoch"]
    return {name: [(int(row["epoch"]), row[name]) for row in rows if math.isfinite(row[name])] for name in names}


def assert_same_figures(found: dict[str, list[tuple[int, float]]], wanted: dict[str, list[tuple[int, float]]]) -> None:
    assert set(found) == {name for name, values in wanted.items() if values}
    for name, values in found.items():
        assert [step for step, _ in values] == [step for step, _ in wanted[name]]
        assert [value for _, value in values] == pytest.approx([value for _, value in wanted[name]], rel=1e-6)


@pytest.fixture
def no_mlflow_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts back what the logger sets, and hides a server that the user may have."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_mlflow_variables")
def test_an_interrupted_run_goes_on_in_tensorboard_and_in_mlflow(configure, monkeypatch, capsys):
    mlflow = pytest.importorskip("mlflow")
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            train(configure(epochs=3, logger=("mlflow",)))
    result = train(ResumeRequest(None, Path(configure().project)))
    wanted = results(result.folder)
    assert len(wanted["x/lr0"]) == 3
    assert_same_figures(tensorboard_scalars(result.folder), wanted)

    client = mlflow.MlflowClient((result.folder / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("runs")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "exp"
    assert run.info.status == "FINISHED"
    history = {
        name.replace("mAP_0.5-0.95", "mAP_0.5:0.95"): [
            (metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)
        ]
        for name in run.data.metrics
    }
    assert_same_figures(history, wanted)
    assert run.data.params["imgsz"] == "64"
    assert run.data.params["mosaic"] == "0.5"
    assert run.data.params["best_weights"] == str(result.weights.resolve())
    assert f"mlflow (run {run.info.run_id})" in capsys.readouterr().out


def test_tensorboard_has_the_settings_and_a_replaced_run_leaves_nothing(configure):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    folder = train(configure(epochs=2)).folder
    train(configure(epochs=1, exist_ok=True))
    assert_same_figures(tensorboard_scalars(folder), results(folder))
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    events = EventAccumulator(str(folder)).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["imgsz"].number_value == 64
    assert values["lr0"].number_value == 0.01
    assert str(folder / "weights" / "best.pt") in str(events.Tensors("weights/text_summary"))


class Broken:
    """A service that works until the figures of an epoch arrive."""

    key = "k1"

    def __init__(self, run: object, key: str | None) -> None:
        self.calls: list[str] = []
        OPENED.append(self)

    def settings(self, values: object) -> None:
        self.calls.append("settings")

    def figures(self, values: object, epoch: int) -> None:
        self.calls.append(f"figures {epoch}")
        raise ConnectionError("the server is gone\nand much more")

    def weights(self, path: str) -> None:
        self.calls.append("weights")

    def close(self, status: str) -> None:
        self.calls.append("close")


OPENED: list[Broken] = []


def test_a_service_that_fails_is_named_once_and_the_run_goes_on(configure, monkeypatch, capsys):
    monkeypatch.setattr(loggers, "require_loggers", lambda names: None)
    monkeypatch.setitem(loggers.OPEN, "wandb", Broken)
    OPENED.clear()
    folder = train(configure(epochs=2, logger=("wandb",))).folder
    assert OPENED[0].calls == ["settings", "figures 0"]
    said = capsys.readouterr().out
    assert said.count("WARNING: wandb takes no more figures of this run (the server is gone); results.csv has") == 1
    assert_same_figures(tensorboard_scalars(folder), results(folder))  # the others go on
    assert yaml.safe_load((folder / "loggers.yaml").read_text()) == {"wandb": "k1"}


def test_a_service_that_cannot_be_started_is_an_error_before_the_first_epoch(configure, monkeypatch):
    def refused(run: object, key: str | None) -> None:
        raise PermissionError("no API key\ntraceback")

    monkeypatch.setattr(loggers, "require_loggers", lambda names: None)
    monkeypatch.setitem(loggers.OPEN, "wandb", refused)
    with pytest.raises(ValueError, match=r"^--logger wandb: it cannot be started: no API key$"):
        train(configure(logger=("wandb",)))


def test_a_resumed_run_goes_on_without_a_service_that_is_gone(tmp_path, capsys):
    (tmp_path / "loggers.yaml").write_text("wandb: k1\n")
    run = SimpleNamespace(config=SimpleNamespace(logger=("wandb",)), folder=tmp_path)
    logs = loggers.LogFigures(run, ResultsFile(tmp_path / "results.csv"), start_epoch=3)
    logs.on_fit_start(SimpleNamespace(is_global_zero=True), None)
    assert logs.logs == {}
    assert "WARNING: wandb takes no more figures of this run (" in capsys.readouterr().out


def test_a_full_disk_under_tensorboard_does_not_stop_the_run(configure, monkeypatch, capsys):
    from torch.utils.tensorboard import SummaryWriter

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    assert len(results(train(configure(epochs=2)).folder)["x/lr0"]) == 2
    assert capsys.readouterr().out.count("WARNING: tensorboard takes no more figures") == 1


class FakeTask:
    """The part of clearml.Task that is used."""

    id = "t7"

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def connect(self, values: object, name: str = "General") -> None:
        self.calls.append(("connect", name, values))

    def get_logger(self) -> "FakeTask":
        return self

    def report_scalar(self, *values: object) -> None:
        self.calls.append(("scalar", *values))

    def mark_failed(self, status_reason: str) -> None:
        self.calls.append(("failed", status_reason))

    def close(self) -> None:
        self.calls.append(("close",))


def test_clearml_gets_scalars_by_plot_and_series(monkeypatch):
    task, given = FakeTask(), []
    module = ModuleType("clearml")
    module.Task = type("Task", (), {"init": staticmethod(lambda *words, **options: given.append(options) or task)})
    monkeypatch.setitem(sys.modules, "clearml", module)
    log = loggers.ClearMLLog("train", "exp", None)
    log.figures({"train/box_loss": 0.5}, 3)
    log.weights("best.pt")
    log.close("success")
    assert log.key == "t7"
    assert given[0]["auto_connect_frameworks"] is False
    assert task.calls == [
        ("scalar", "train", "box_loss", 0.5, 3),
        ("connect", "Result", {"best_weights": "best.pt"}),
        ("close",),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--logger", "wandb"], "--logger wandb: the package wandb is not installed; pip install wandb"),
        (["--logger", "comet"], "--logger comet: the package comet-ml is not installed; pip install comet-ml"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(words, message, monkeypatch):
    monkeypatch.setattr("engine.config.train_parser.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=message):
        parse_train_args(["--cfg", "yolov5n.yaml", *words])


def events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def tags(folder: Path, kind: str) -> object:
    return events(folder).Tags()[kind]


def test_tensorboard_shows_pictures_and_the_graph(configure, monkeypatch, capsys):
    """Whatever else lies in the run folder; without plots there is nothing to show."""
    plain = train(configure(epochs=1, name="plain"))
    assert tags(plain.folder, "images") == []
    assert not tags(plain.folder, "graph")
    graph = loggers.TensorBoardLog.graph

    def with_another(log: loggers.TensorBoardLog, weights: Path) -> None:
        (weights.parents[1] / "a.png").write_bytes(b"no picture")
        log.pictures(weights.parents[1])
        graph(log, weights)

    monkeypatch.setattr(loggers.TensorBoardLog, "graph", with_another)
    shown = train(configure(epochs=1, name="shown", noplots=False))
    assert {"labels", "labels_correlogram", "results", "train_batch0", "val_batch0_pred"} <= set(
        tags(shown.folder, "images")
    )
    stored, *_ = events(shown.folder).Images("results")
    pixels = decode_image(np.frombuffer(stored.encoded_image_string, np.uint8))
    np.testing.assert_array_equal(pixels, read_image(shown.folder / "results.png"))
    assert (stored.height, stored.width) == pixels.shape[:2]
    assert tags(shown.folder, "graph")
    assert "WARNING: tensorboard" not in capsys.readouterr().out


def test_a_graph_that_cannot_be_traced_leaves_the_rest(configure, monkeypatch, capsys):
    def fail(log: loggers.TensorBoardLog, weights: Path) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(loggers.TensorBoardLog, "graph", fail)
    result = train(configure(epochs=1, noplots=False))
    assert "WARNING: tensorboard lacks a part of this run (no such operator)" in capsys.readouterr().out
    assert "results" in tags(result.folder, "images")
    assert_same_figures(tensorboard_scalars(result.folder), results(result.folder))
