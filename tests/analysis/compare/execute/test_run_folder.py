"""A run from wherever it is to its end, runs that fail, and a comparison that is stopped, with made-up training."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from analysis.compare.execute import local
from analysis.compare.execute.local import run_locally
from analysis.compare.execute.run_folder import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    TRAINED,
    WAITING,
    RunFolder,
    execute,
    folders,
)
from analysis.compare.plan.command_line import parse_compare_args
from analysis.compare.plan.expand_plan import RunPlan
from analysis.compare.study import find, merge, run_study
from engine.config.train_parser import run_words
from engine.config.train_request import TrainRequest, parse_train_args
from engine.runtime.folder_lock import locked
from files.signals import signals_as_ctrl_c
from models.model_yaml import load_spec
from models.weights.checkpoint import save_model
from models.yolo import build_model


class Training:
    """Stands in for the child processes: notes the commands, leaves weights and figures, fails where it is told to."""

    def __init__(self, fail: str = "", interrupt: str = "") -> None:
        self.commands: list[list[str]] = []
        self.fail, self.interrupt = fail, interrupt

    def __call__(self, command: list[str], log: Path, started=None, keep_open=()) -> int:
        self.commands.append(command)
        folder = RunFolder(log.parent)
        what = "measure" if "analysis.compare.execute.measure" in command else "train"
        with log.open("a") as stream:
            stream.write(f"{what}\n")
            if self.fail and self.fail in f"{folder.path.name} {what}":
                stream.write("ValueError: out of memory, or so\n")
                return 1
        if what == "measure":
            folder.write("measured", {"map50_95": 0.5})
        else:
            state = {"optimizer": {}} if self.interrupt and self.interrupt in folder.path.name else {"epochs_done": 2}
            write_weights(folder, state)
        return 0

    @property
    def trained(self) -> list[str]:
        """Folder names, in order."""
        return [command[command.index("--name") + 1] for command in self.commands if "--name" in command]


def write_weights(folder: RunFolder, state: dict) -> None:
    model = build_model(load_spec(folder.plan.train["cfg"]))
    save_model(model, folder.last, training=state)


@pytest.fixture
def runs(planned, tmp_path) -> list[RunFolder]:
    """Described and not begun: none and SE with two seeds."""
    found = [RunFolder(tmp_path / "exp" / "runs" / plan.folder_name) for plan in planned()]
    for folder, plan in zip(found, planned(), strict=True):
        folder.write("run", plan.to_dict())
    return found


def test_states_of_a_run(runs) -> None:
    folder = runs[0]
    assert folder.state == WAITING
    write_weights(folder, {"optimizer": {}})
    assert folder.state == INTERRUPTED
    write_weights(folder, {"epochs_done": 2})
    assert folder.state == TRAINED
    folder.write("error", {"error": "x"})
    assert (folder.state, folder.progress) == (FAILED, TRAINED)
    folder.write("measured", {})
    assert folder.state == FINISHED
    folder.last.write_bytes(b"not weights")
    assert folder.progress == WAITING


def test_the_command_of_a_run_is_an_ordinary_training(runs) -> None:
    """Reading it as train.py does gives the settings that were planned."""
    for folder in runs:
        request = parse_train_args(run_words(folder.plan.train, folder.path, resume=False))
        assert isinstance(request, TrainRequest)
        there = {"project": str(folder.path.parent), "name": folder.path.name, "exist_ok": True}
        assert request.config.to_dict() == {**folder.plan.train, **there}


def test_every_kind_of_flag_survives_the_command_line(planned, tmp_path) -> None:
    words = "--freeze 0 1 --cos-lr --rect --cache --patience 0 --label-smoothing 0.1 --optimizer AdamW"
    plan = planned(*words.split(), "--start", "paper")[1]
    folder = RunFolder(tmp_path / plan.folder_name)
    config = parse_train_args(run_words(plan.train, folder.path, resume=False)).config
    assert config.to_dict() == {**plan.train, "project": str(tmp_path), "name": plan.folder_name, "exist_ok": True}
    assert (config.attention_start, config.optimizer, config.cache) == ("paper", "AdamW", "ram")


def test_a_run_with_half_the_batch_is_not_compared(runs) -> None:
    folder = runs[0]
    assert folder.plan.train["batch_size"] == 2
    write_weights(folder, {"epochs_done": 2, "config": {"batch_size": 1}})
    assert execute(folder, Training()) == FAILED
    assert "--batch 2 did not fit into memory, so it was trained with 1" in folder.read("error")["error"]
    write_weights(folder, {"epochs_done": 2, "config": {"batch_size": 2}})
    assert execute(folder, Training()) == FINISHED


def test_a_run_begins_resumes_and_is_only_measured(runs) -> None:
    training = Training()
    assert execute(runs[0], training) == FINISHED
    assert ["train.py" in command for command in training.commands] == [True, False]
    assert runs[0].seconds > 0
    write_weights(runs[1], {"optimizer": {}})
    training = Training()
    assert execute(runs[1], training) == FINISHED
    assert training.commands[0][1:4] == ["train.py", "--resume", str(runs[1].last)]
    (runs[1].path / "measured.json").unlink()
    training = Training()
    assert execute(runs[1], training) == FINISHED
    assert len(training.commands) == 1


@pytest.mark.parametrize(("stage", "word"), [("training", "train"), ("measuring", "measure")])
def test_a_failure_is_recorded_and_forgotten_when_it_succeeds(runs, stage, word) -> None:
    assert execute(runs[0], Training(fail=word)) == FAILED
    error = runs[0].read("error")
    assert (error["stage"], error["status"], error["error"]) == (stage, 1, "ValueError: out of memory, or so")
    assert execute(runs[0], Training()) == FINISHED
    assert not (runs[0].path / "error.json").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_others_go_on_and_nothing_is_done_twice(runs, tmp_path, monkeypatch, capsys, jobs) -> None:
    first = Training(fail="-none-s1")
    first.fail = runs[2].path.name
    monkeypatch.setattr(local, "run_process", first)
    run_locally(runs, tmp_path / "exp", jobs)
    assert [folder.state for folder in runs] == [FINISHED, FINISHED, FAILED, FINISHED]
    if jobs == 1:
        assert first.trained == [folder.path.name for folder in runs]
    second = Training()
    monkeypatch.setattr(local, "run_process", second)
    run_locally(runs, tmp_path / "exp", jobs)
    assert second.trained == [runs[2].path.name]
    assert "out of memory" in capsys.readouterr().out


def test_a_second_one_is_kept_out_of_the_folder(runs, tmp_path) -> None:
    with locked(tmp_path / "exp"), pytest.raises(ValueError, match="is at work in this folder"):
        run_locally(runs, tmp_path / "exp", 1)
    with locked(tmp_path / "exp"):
        pass  # free again


def test_stopping_reaches_the_processes_and_records_no_error(runs, tmp_path, monkeypatch) -> None:
    """A request to end while a child works: it is asked to leave, and the run is waiting and not failed."""
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); print('up', flush=True)"
    real = local.run_process

    def child(command, log, started, keep_open):
        return real([sys.executable, "-c", f"{code}; time.sleep(60)"], log, started, keep_open)

    def interrupt_when_up() -> None:
        while "up" not in "".join(f.read_text() for f in tmp_path.glob("exp/runs/*/log.txt")):
            done.wait(0.05)
        os.kill(os.getpid(), signal.SIGTERM)  # the same as Ctrl-C

    done = threading.Event()
    monkeypatch.setattr(local, "run_process", child)
    monkeypatch.setattr(local, "_PATIENCE_S", 20)
    thread = threading.Thread(target=interrupt_when_up)
    thread.start()
    with pytest.raises(KeyboardInterrupt), signals_as_ctrl_c():
        run_locally(runs[:2], tmp_path / "exp", 1)
    thread.join()
    assert [folder.state for folder in runs[:2]] == [WAITING, WAITING]
    assert not list(tmp_path.glob("exp/runs/*/error.json"))


def test_merge_takes_each_run_once_and_finished_ones_first(runs, tmp_path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tmp_path / "exp", other)
    for folder, source in ((runs[0], tmp_path / "exp"), (runs[1], other), (runs[2], other)):
        RunFolder(source / "runs" / folder.path.name).write("measured", {"map50_95": 0.1})
    RunFolder(tmp_path / "exp" / "runs" / runs[2].path.name).write("measured", {"map50_95": 0.2})
    with pytest.raises(ValueError, match=r"the run is finished, but model\.yaml is missing"):
        merge([tmp_path / "exp", other], tmp_path / "both")
    assert not (tmp_path / "both").exists()
    for file in [*tmp_path.glob("exp/runs/*/measured.json"), *other.glob("runs/*/measured.json")]:
        for name in ("model.yaml", "results.csv", "images.npz"):
            file.with_name(name).touch()
    merge([tmp_path / "exp", other], tmp_path / "both")
    merged = {file.parent.name: RunFolder(file.parent) for file in (tmp_path / "both").glob("runs/*/run.json")}
    states = [merged[folder.path.name].state for folder in runs]
    assert states == [FINISHED, FINISHED, FINISHED, WAITING]
    assert merged[runs[2].path.name].read("measured") == {"map50_95": 0.2}
    older = [without_data(RunFolder(other / "runs" / folder.path.name)) for folder in runs[1:3]]
    merge([other], tmp_path / "both")
    assert len(list((tmp_path / "both").glob("runs/*/run.json"))) == 4  # the same runs, their data not recorded
    shutil.copytree(runs[1].path, tmp_path / "ahead" / "runs" / runs[3].path.name)
    ahead = RunFolder(tmp_path / "ahead" / "runs" / runs[3].path.name)
    ahead.write("run", runs[3].plan.to_dict() | {"data_digest": ""})
    write_weights(ahead, {"optimizer": {}})
    merge([tmp_path / "ahead"], tmp_path / "both")
    states = [folder.state for folder in folders(tmp_path / "both")]
    assert sorted(states) == [FINISHED, FINISHED, FINISHED, INTERRUPTED]
    changed = RunFolder(older[0].path)
    changed.write("run", runs[1].plan.to_dict() | {"data_digest": "other"})
    merge([other], tmp_path / "both")
    assert len(folders(tmp_path / "both")) == 5
    (tmp_path / "empty" / "runs").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no runs"):
        merge([tmp_path / "empty"], tmp_path / "both")


def without_data(folder: RunFolder) -> RunFolder:
    """The same run as it was described before data were recorded."""
    older = folder.plan.to_dict()
    del older["data_digest"]
    there = RunFolder(folder.path.with_name(RunPlan.from_dict(older, "").folder_name))
    folder.path.rename(there.path)
    there.write("run", older)
    return there


def test_runs_whose_data_was_not_recorded_are_found_and_others_are_not(runs, tmp_path) -> None:
    plan = runs[0].plan
    assert find(tmp_path / "exp", plan) == runs[0]
    older = without_data(runs[0])
    assert find(tmp_path / "exp", plan) == older
    older.write("run", plan.to_dict())  # taken up again with today's data
    assert find(tmp_path / "exp", plan) == older
    older.write("run", plan.to_dict() | {"data_digest": "of changed labels"})
    assert find(tmp_path / "exp", plan) == runs[0]


def test_changed_labels_make_new_runs_beside_the_old_ones(command, tiny_set, tmp_path, monkeypatch, capsys) -> None:
    """The same command again: finished runs stay until a label changes, then all is run anew and the old ones stay."""
    shutil.copytree(tiny_set / "set", tmp_path / "set")
    data = tmp_path / "set.yaml"
    data.write_text((tiny_set / "set.yaml").read_text().replace(str(tiny_set), str(tmp_path)))
    monkeypatch.setattr("analysis.compare.study.write_report", lambda folder: None)

    def again() -> list[str]:
        training = Training()
        monkeypatch.setattr(local, "run_process", training)
        assert run_study(parse_compare_args([*command, "--data", str(data)])) == 0
        return training.trained

    assert len(again()) == 4
    assert again() == []
    capsys.readouterr()
    label = tmp_path / "set" / "labels" / "train" / "0.txt"
    before = label.read_text()
    label.write_text("")
    assert len(again()) == 4
    assert "4 runs that are there were planned for other images or labels in set: they stay" in capsys.readouterr().out
    assert len(list(tmp_path.glob("exp/runs/*/measured.json"))) == 8
    label.write_text(before)
    assert again() == []


def test_data_that_change_on_the_way_stop_the_run(runs, tiny_set, monkeypatch) -> None:
    training = Training()
    digests = iter([runs[0].plan.data_digest, "another"])
    monkeypatch.setattr("analysis.compare.execute.run_folder.data_digest", lambda dataset, task: next(digests))
    assert execute(runs[0], training) == FAILED
    assert len(training.commands) == 1  # trained, not measured
    assert "images or labels have changed since the run was planned" in runs[0].read("error")["error"]


def test_waiting_runs_follow_the_latest_command_line(command, tmp_path, monkeypatch) -> None:
    """What has no effect on the result is no part of the digest, and yet not ignored."""
    monkeypatch.setattr("analysis.compare.study.write_report", lambda folder: None)
    monkeypatch.setattr(local, "run_process", Training(fail="-se-"))
    assert run_study(parse_compare_args(command)) == 1
    training = Training()
    monkeypatch.setattr(local, "run_process", training)
    assert run_study(parse_compare_args([*command, "--workers", "1"])) == 0
    assert len(training.trained) == 2
    assert all(words[words.index("--workers") + 1] == "1" for words in training.commands if "--workers" in words)


def test_damaged_files_are_named(runs) -> None:
    (runs[0].path / "sessions.json").write_text("{")
    with pytest.raises(ValueError, match=r"sessions\.json: is not JSON"):
        _ = runs[0].seconds


@pytest.mark.slow
def test_the_whole_way(command, tmp_path, root) -> None:
    """Real training: a first half, weights that are damaged, then the rest; two configurations with two seeds."""

    def compare(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "compare.py", *command, *words], cwd=root, capture_output=True, text=True
        )

    done = compare("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "4 runs of 2 configurations" in done.stdout
    assert "about 0:0" in done.stdout
    done = compare("--seeds", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    broken = next(tmp_path.glob("exp/runs/*-se-*-s0-*"))
    (broken / "measured.json").unlink()
    (broken / "weights" / "last.pt").write_bytes(b"nothing")
    done = compare("--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 runs, 1 finished already" in done.stdout
    rows = (tmp_path / "exp" / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + 4
    assert json.loads((tmp_path / "exp" / "latency.json").read_text())["configurations"]
    assert "cannot be told apart with 2 seeds" in (tmp_path / "exp" / "table.md").read_text()
    assert (tmp_path / "exp" / "index.html").is_file()
