"""A run that is killed while it finishes, trained twice at once, on other data or a full disk."""

import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import yaml

from engine.config.parser import run_cli
from engine.config.train_request import ResumeRequest
from engine.training import run_training
from engine.training.callbacks import SaveWeights
from engine.training.run_training import train
from files import disk
from models.weights.checkpoint import read_checkpoint
from tests.support.tiny_runs import assert_same_weights, stop_in_epoch


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it."""


@pytest.mark.parametrize("step", ["plot_results", "load_model"])
def test_a_run_killed_while_it_finishes_is_finished(configure, monkeypatch, step):
    whole = train(configure(name="whole", noplots=False))

    def killed(*arguments):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(run_training, step, killed)
        with pytest.raises(Killed):
            train(configure(name="parts", noplots=False))
    parts = whole.folder.with_name("parts")
    assert "optimizer" in read_checkpoint(parts / "weights" / "last.pt").training
    done = train(ResumeRequest(None, whole.folder.parent))
    assert done.evaluation.map50 == whole.evaluation.map50
    for name in ("last.pt", "best.pt"):
        assert_same_weights(whole.folder / "weights" / name, parts / "weights" / name)
        assert "optimizer" not in read_checkpoint(parts / "weights" / name).training
    for name in ("results.png", "confusion_matrix.png"):
        assert (parts / name).is_file()
    with pytest.raises(ValueError, match="there is nothing to resume, its 2 epochs are done"):
        train(ResumeRequest(parts / "weights" / "last.pt", parts.parent))


@pytest.mark.skipif(os.name != "posix", reason="the system has no such locks")
def test_a_run_is_trained_by_one_process_at_a_time(configure, monkeypatch, root):
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            train(configure(name="run"))
    folder = Path(configure().project) / "run"
    hold = "import sys, time; from pathlib import Path; from engine.runtime.folder_lock import trained_in\n"
    hold += "with trained_in(Path(sys.argv[1])):\n    print(flush=True)\n    time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold, str(folder)], cwd=root, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        again = ResumeRequest(folder / "weights" / "last.pt", folder.parent)
        for request in (again, configure(name="run", exist_ok=True)):
            with pytest.raises(ValueError, match=rf"at work in this folder: process {holder.pid} on "):
                train(request)
        holder.kill()
    train(again)


def test_other_data_than_before_is_said(configure, workshop, monkeypatch, tmp_path, capsys):
    shutil.copytree(workshop / "set", tmp_path / "set")
    data = {**yaml.safe_load((workshop / "set.yaml").read_text()), "path": str(tmp_path / "set")}
    (tmp_path / "set.yaml").write_text(yaml.safe_dump(data))
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            train(configure(data=str(tmp_path / "set.yaml"), name="run"))
    train_folder = tmp_path / "set" / "images" / "train"
    shutil.copy(train_folder / "0.png", train_folder / "new.png")
    label = tmp_path / "set" / "labels" / "train" / "0.txt"
    shutil.copy(label, label.with_name("new.txt"))
    capsys.readouterr()
    train(ResumeRequest(None, tmp_path / "runs"))
    said = [line for line in capsys.readouterr().out.splitlines() if "is not the one that the run began with" in line]
    assert len(said) == 1
    assert "(train 6 -> 7 images, train 6 -> 7 labels)" in said[0]


def test_a_disk_that_gets_full_keeps_the_last_epoch(configure, monkeypatch, capsys):
    """From the second epoch on nothing can be written."""
    save, usage = SaveWeights.on_train_epoch_end, shutil.disk_usage
    Usage = namedtuple("Usage", "total used free")

    def full(self, trainer, module):
        if module.current_epoch == 1:
            monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(*usage(path)[:2], 100_000))
            raise RuntimeError("unexpected pos 64 vs 0")
        save(self, trainer, module)

    monkeypatch.setattr(SaveWeights, "on_train_epoch_end", full)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert run_cli(lambda: train(configure(epochs=3)) and 0) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "exp: the disk is full, 0.1 MB free; the weights of the last full epoch are kept; to go on: python" in said


def test_a_run_that_cannot_fit_is_not_begun(configure, monkeypatch):
    usage = shutil.disk_usage
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(*usage(path)[:2], 2 * disk.FULL_BYTES))
    with pytest.raises(ValueError, match=r"exp: a checkpoint takes \d+ MB, and 2\.1 MB free; make room first"):
        train(configure())


@pytest.mark.slow
@pytest.mark.parametrize("number", [None, signal.SIGTERM])
def test_no_folder_is_left_in_the_temporary_one(workshop, root, tmp_path, number):
    words = ["--data", workshop / "set.yaml", "--cfg", workshop / "nano.yaml", "--hyp", workshop / "hyp.yaml"]
    words += ["--epochs", "500" if number else "1", "--batch", "2", "--img", "64", "--workers", "2", "--device", "cpu"]
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "train.py", *map(str, words), "--noplots", "--project", str(tmp_path / "runs")],
        cwd=root,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if number and "mAP50" in line:
            os.killpg(process.pid, number)  # as systemd ends a service: the workers too
            break
    process.communicate(timeout=60)
    assert process.returncode == (143 if number else 0)
    assert [path.name for path in (tmp_path / "tmp").iterdir() if path.name.startswith("pymp-")] == []
