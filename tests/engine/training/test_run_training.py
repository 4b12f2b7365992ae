"""Whole training runs on a few tiny images: what they leave, that they resume exactly, that flags have an effect."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from engine.config.train_request import ResumeRequest
from engine.training import run_training as trainer
from engine.training.lightning_loop import Fit
from engine.training.results_csv import ResultsFile
from engine.training.run_record import Run
from engine.training.run_training import train
from models.model_yaml import load_spec
from models.weights.checkpoint import load_model, read_checkpoint
from tests.support.tiny_runs import assert_same_weights, make_config, stop_in_epoch, weights_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:lightning"),
]


def test_a_run_leaves_what_a_yolov5_user_expects(configure, capsys):
    result = train(configure(noplots=False, save_period=1))
    folder = result.folder
    assert folder.name == "exp"
    assert {file.name for file in folder.iterdir()} >= {
        "weights", "results.csv", "results.png", "labels.jpg", "train_batch0.jpg", "train_batch1.jpg",
        "train_batch2.jpg", "val_batch0_labels.jpg", "val_batch0_pred.jpg", "PR_curve.png", "confusion_matrix.png",
        "hyp.yaml", "opt.yaml", "model.yaml",
    }  # fmt: skip
    assert {file.name for file in (folder / "weights").iterdir()} == {"last.pt", "best.pt", "epoch0.pt", "epoch1.pt"}
    assert [row["epoch"] for row in ResultsFile(folder / "results.csv").rows()] == [0, 1]
    assert yaml.safe_load((folder / "opt.yaml").read_text())["imgsz"] == 64
    assert yaml.safe_load((folder / "hyp.yaml").read_text())["mosaic"] == 0.5
    assert len(load_spec(folder / "model.yaml").layers) == 25
    said = capsys.readouterr().out
    for part in ("Settings: ", "Hyperparameters: mosaic", "AutoAnchor: ", "GFLOPs at 64 px", "Labels: 6 in 6 images"):
        assert part.replace("mosaic", "lr0") in said


def test_finished_weights_are_half_and_hold_no_training_state(configure):
    folder = train(configure()).folder
    for name in ("last.pt", "best.pt"):
        stored = torch.load(folder / "weights" / name, weights_only=True)
        assert stored["state_dict"]["model.0.conv.weight"].dtype is torch.float16
        assert "optimizer" not in stored["training"]
        assert stored["training"]["config"]["imgsz"] == 64
        assert load_model(folder / "weights" / name).names == {0: "even", 1: "odd"}
    message = r"nothing to resume, its 2 epochs are done; --resume .*last.pt --epochs 4 goes on to 4, --weights .*"
    with pytest.raises(ValueError, match=message):
        train(ResumeRequest(folder / "weights" / "last.pt", folder.parent))
    with pytest.raises(ValueError, match=r"--resume: no interrupted run in .* \(1 finished\)"):
        train(ResumeRequest(None, folder.parent))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "AdamW", "multi_scale": True, "precision": "bf16", "patience": 9},
        {"image_weights": True, "class_weights": 0.5},
    ],
)
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(configure, monkeypatch, changes, capsys):
    whole = train(configure(epochs=4, name="whole", **changes)).folder
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            train(configure(epochs=4, name="parts", **changes))
    parts = whole.with_name("parts")
    assert f"to go on after the last full one: python train.py --resume {parts / 'weights' / 'last.pt'}" in (
        capsys.readouterr().out
    )
    assert read_checkpoint(parts / "weights" / "last.pt").training["epoch"] == 1
    with (parts / "results.csv").open("a") as file:
        file.write("2" + ",0" * 13 + "\n")  # written, but its weights were not saved: the run goes on before it
    train(ResumeRequest(None, whole.parent))
    for name in ("last.pt", "best.pt"):
        assert_same_weights(whole / "weights" / name, parts / "weights" / name)
    assert (whole / "results.csv").read_text() == (parts / "results.csv").read_text()


def test_ctrl_c_can_be_pressed_again(configure, monkeypatch, capsys):
    """Lightning leaves the signal ignored; it must come back."""
    before = signal.getsignal(signal.SIGINT)
    stop_in_epoch(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        train(configure())
    assert signal.getsignal(signal.SIGINT) is before
    assert "before the first weights were saved" in capsys.readouterr().out


FAST = {"epochs": 3, "nosave": True, "noval": True}  # half way the cosine is the line: hence three epochs


@pytest.fixture(scope="module")
def plain_run(workshop: Path) -> Path:
    """The weights of a run without any flag that changes them."""
    return train(make_config(workshop, workshop / "runs", **FAST)).folder / "weights" / "last.pt"


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "Adam"},
        {"cos_lr": True},
        {"label_smoothing": 0.1},
        {"multi_scale": True},
        {"rect": True},
        {"seed": 1},
        {"image_weights": True},
    ],
)
def test_flags_change_the_weights(configure, plain_run, change):
    changed = train(configure(**FAST, **change)).folder
    with pytest.raises(AssertionError):
        assert_same_weights(plain_run, changed / "weights" / "last.pt")


def test_the_same_settings_give_the_same_weights(configure, plain_run):
    assert_same_weights(plain_run, train(configure(**FAST)).folder / "weights" / "last.pt")


@pytest.mark.parametrize("cache", ["auto", "ram", "val"])
def test_cache_changes_nothing_but_is_filled(configure, cache, monkeypatch):
    runs: list[Run] = []
    prepare = trainer._prepare

    def keep(*arguments):
        run, model = prepare(*arguments)
        runs.append(run)
        return run, model

    monkeypatch.setattr(trainer, "_prepare", keep)
    plain = train(configure(epochs=1, cache="none")).folder
    cached = train(configure(epochs=1, cache=cache)).folder
    assert_same_weights(plain / "weights" / "last.pt", cached / "weights" / "last.pt")
    assert runs[0].train.dataset.cache is runs[0].val.dataset.cache is None
    assert (runs[1].train.dataset.cache is not None) == (cache != "val")
    assert runs[1].val.dataset.cache.filled.all()


def test_frozen_rows_stay_and_others_move(configure, workshop):
    start = train(configure(epochs=1, name="start")).folder / "weights" / "last.pt"
    end = train(configure(cfg="", weights=str(start), freeze=(0, 3), epochs=1)).folder / "weights" / "last.pt"
    before, after = weights_of(start), weights_of(end)
    for key in ("model.0.conv.weight", "model.0.bn.bias", "model.3.conv.weight"):
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=0)
    assert not torch.equal(after["model.1.conv.weight"], before["model.1.conv.weight"])
    with pytest.raises(ValueError, match=r"--freeze 30: the base of nano\.yaml has the rows 0 to 24"):
        train(configure(freeze=(1, 30)))


def test_weights_alone_bring_their_model_and_anchors(configure, capsys):
    start = train(configure(epochs=1, name="start")).folder / "weights" / "last.pt"
    capsys.readouterr()
    end = train(configure(cfg="", weights=str(start), single_cls=True, epochs=1, noautoanchor=True)).weights
    assert "tensors of last.pt arrived" in capsys.readouterr().out
    model = load_model(end)
    assert model.names == {0: "item"}
    assert model.detect.m[0].weight.shape[0] == 3 * 6
    torch.testing.assert_close(model.detect.anchors, load_model(start).detect.anchors)


def test_cfg_with_weights_keeps_the_anchors_of_the_cfg(configure, workshop):
    start = train(configure(epochs=1, name="start")).folder / "weights" / "last.pt"
    end = load_model(train(configure(weights=str(start), epochs=1, noautoanchor=True)).weights)
    anchors_px = end.detect.anchors[0] * 8
    torch.testing.assert_close(anchors_px, torch.tensor([[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]]))


def test_inserted_attention_is_trained_and_does_not_move_what_is_frozen(configure):
    start = train(configure(epochs=1, name="start")).folder / "weights" / "last.pt"
    changes = {"cfg": "", "weights": str(start), "attention": "SE@backbone.P2", "freeze": (4, 6), "noautoanchor": True}
    result = train(configure(epochs=1, **changes))
    before, after = weights_of(start), weights_of(result.folder / "weights" / "last.pt")
    assert len(load_model(result.weights).spec.layers) == 26
    torch.testing.assert_close(after["model.5.cv1.conv.weight"], before["model.4.cv1.conv.weight"], rtol=0, atol=0)
    assert not torch.equal(after["model.4.conv.weight"], before["model.3.conv.weight"])
    assert "model.3" in (result.folder / "transfer.csv").read_text()


def test_noval_and_nosave_wait_for_the_last_epoch(configure, monkeypatch):
    saved, validated = [], []
    plain = Run.validate
    monkeypatch.setattr(
        "engine.training.callbacks.save_model",
        lambda model, path, training: saved.append((path.name, training["epoch"])),
    )
    monkeypatch.setattr(trainer, "_finish", lambda run, fit: SimpleNamespace(folder=run.folder))

    def counted(self, model, **options):
        validated.append(1)
        return plain(self, model, **options)

    monkeypatch.setattr(Run, "validate", counted)
    folder = train(configure(epochs=3, noval=True, nosave=True)).folder
    assert len(validated) == 1
    assert saved == [("best.pt", 2), ("last.pt", 2)]
    rows = ResultsFile(folder / "results.csv").rows()
    assert [np.isnan(row["metrics/mAP_0.5"]) for row in rows] == [True, True, False]


def evaluations(fitnesses: list[float]) -> Callable[..., SimpleNamespace]:
    """Stands in for validation."""
    left = iter(fitnesses)

    def validate(run: Run, model: torch.nn.Module, **options: object) -> SimpleNamespace:
        value = next(left, 0.0)
        figures = {"precision": 0.0, "recall": 0.0, "map50": value, "map50_95": value, "fitness": value}
        classes = {"per_class": (), "names": run.names}
        return SimpleNamespace(**figures, **classes, loss=(0.0, 0.0, 0.0), table=lambda: "")

    return validate


def test_patience_stops_and_best_is_the_best(configure, monkeypatch, capsys):
    monkeypatch.setattr(Run, "validate", evaluations([0.1, 0.3, 0.2, 0.2, 0.25, 0.9]))
    folder = train(configure(epochs=9, patience=2)).folder
    assert len(ResultsFile(folder / "results.csv").rows()) == 4  # epochs 2 and 3 were no better than epoch 1
    assert read_checkpoint(folder / "weights" / "best.pt").training["epoch"] == 1
    assert read_checkpoint(folder / "weights" / "last.pt").training["epoch"] == 3
    assert "Stopped early: no better fitness in the last 2 epochs; the best was epoch 1" in capsys.readouterr().out


def test_patience_stops_on_a_plateau_of_equal_figures(configure, monkeypatch):
    monkeypatch.setattr(Run, "validate", evaluations([0.1, 0.3, 0.3, 0.3, 0.3, 0.3]))
    folder = train(configure(epochs=9, patience=2)).folder
    assert len(ResultsFile(folder / "results.csv").rows()) == 4
    assert read_checkpoint(folder / "weights" / "best.pt").training["epoch"] == 3  # the last of equals, as in YOLOv5


def test_save_period_keeps_the_weights_of_every_so_many_epochs(configure, monkeypatch):
    monkeypatch.setattr(Run, "validate", evaluations([0.1] * 4))
    folder = train(configure(epochs=4, save_period=2)).folder
    kept = {file.name: read_checkpoint(file).training["epoch"] for file in (folder / "weights").glob("epoch*.pt")}
    assert kept == {"epoch0.pt": 0, "epoch2.pt": 2}


def test_patience_0_never_stops(configure, monkeypatch):
    monkeypatch.setattr(Run, "validate", evaluations([0.3, 0.2, 0.1, 0.1]))
    assert len(ResultsFile(train(configure(epochs=4, patience=0)).folder / "results.csv").rows()) == 4


def test_exist_ok_replaces_and_otherwise_a_number_is_added(configure):
    first = train(configure(epochs=1)).folder
    assert train(configure(epochs=1, exist_ok=True)).folder == first
    assert len(ResultsFile(first / "results.csv").rows()) == 1
    assert train(configure(epochs=1)).folder.name == "exp2"


def test_the_average_is_saved_and_the_raw_weights_beside_it(configure, monkeypatch):
    kept: list[Fit] = []
    validated: list[torch.nn.Module] = []
    plain = Run.validate

    def noted(self, model, **options):
        validated.append(model)
        return plain(self, model, **options)

    monkeypatch.setattr(Run, "validate", noted)
    monkeypatch.setattr(trainer, "_finish", lambda run, fit: kept.append(fit) or SimpleNamespace(folder=run.folder))
    folder = train(configure(epochs=1)).folder
    stored, module = read_checkpoint(folder / "weights" / "last.pt"), kept[0].module
    assert validated == [module.ema.model]
    torch.testing.assert_close(stored.state_dict, dict(module.ema.model.state_dict()), rtol=0, atol=0)
    torch.testing.assert_close(stored.training["model"], dict(module.model.state_dict()), rtol=0, atol=0)
    assert stored.training["ema_updates"] == module.ema.updates == 2  # in warm-up the third batch waits for a fourth


def test_nothing_is_written_outside_the_run_folder(configure, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    train(configure(epochs=1))
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_script_learns_a_tiny_set(root, workshop, tmp_path):
    """The script as a user runs it: the loss falls, the weights load."""
    hyp = tmp_path / "hyp.yaml"
    hyp.write_text("mosaic: 0.0\nlr0: 0.01\nscale: 0.0\ntranslate: 0.0\nwarmup_bias_lr: 0.01\n")
    files = {"--data": workshop / "set.yaml", "--cfg": workshop / "nano.yaml", "--hyp": hyp, "--weights": ""}
    words = [str(word) for pair in files.items() for word in pair]
    words += ["--img", "64", "--batch", "6", "--epochs", "40", "--optimizer", "Adam", "--workers", "0"]
    words += ["--noval", "--noplots", "--nosave"]
    command = [sys.executable, "train.py", *words, "--project", str(tmp_path / "runs")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = ResultsFile(tmp_path / "runs" / "exp" / "results.csv").rows()
    assert rows[-1]["train/box_loss"] < 0.9 * rows[0]["train/box_loss"]
    assert load_model(tmp_path / "runs" / "exp" / "weights" / "last.pt").nc == 2
