"""`--evolve`: a real study of tiny runs, and with stand-ins for the runs: failures, interruptions, several workers."""

import csv
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from data.hyp import load_hyp
from engine.config.train_request import EvolveRequest
from engine.evolution import evolve_report
from engine.evolution import run_evolution as module
from engine.evolution.run_evolution import SPACE, Claim, best_epoch, evolve, fitness
from engine.runtime import child_process
from engine.training.results_csv import ResultsFile
from models.model_yaml import load_spec
from models.weights.checkpoint import read_checkpoint, save_model
from models.yolo import build_model

pytest.importorskip("optuna")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def read_csv(folder: Path) -> list[dict[str, float]]:
    with (folder / "evolve.csv").open() as file:
        return [{name.strip(): float(value) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("trials", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_study_of_real_runs_goes_on_where_it_ended(configure, capsys, trials):
    config = configure(epochs=1)
    given = load_hyp(config.hyp)
    folder = evolve(EvolveRequest(config, 1))
    assert load_hyp(folder / "trial0" / "hyp.yaml") == given
    before = (folder / "trial0" / "weights" / "best.pt").stat().st_mtime_ns
    assert evolve(EvolveRequest(config, trials, sampler="tpe")) == folder
    assert (folder / "trial0" / "weights" / "best.pt").stat().st_mtime_ns == before
    assert capsys.readouterr().out.count(" ended: fitness 0.") == trials

    for number in range(trials):
        drawn = load_hyp(folder / f"trial{number}" / "hyp.yaml").to_dict()
        for name, (low, high) in SPACE.items():
            assert low <= drawn[name] <= high
            assert (drawn[name] == given.to_dict()[name]) == (number == 0)
        assert drawn["iou_t"] == given.iou_t
        last = folder / f"trial{number}" / "weights" / "last.pt"
        assert read_checkpoint(last).training["hyp"] == pytest.approx(drawn)
    rows = read_csv(folder)
    assert [row["trial"] for row in rows] == list(range(trials))
    for number, row in enumerate(rows):
        best = best_epoch(folder / f"trial{number}" / "results.csv")
        assert row["fitness"] == pytest.approx(fitness(best), rel=1e-4)
        assert row["metrics/recall"] == best["metrics/recall"]
        assert row["lr0"] == pytest.approx(load_hyp(folder / f"trial{number}" / "hyp.yaml").lr0, rel=1e-4)
    winner = max(rows, key=lambda row: (row["fitness"], -row["trial"]))["trial"]
    assert load_hyp(folder / "hyp_evolve.yaml") == load_hyp(folder / f"trial{winner:.0f}" / "hyp.yaml")
    assert (folder / "evolve.png").read_bytes()[:4] == b"\x89PNG"


class Runs:
    """Stands in for the runs: the fitness is best where flipud is 0.3."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **endings: object) -> None:
        self.numbers: list[int] = []
        self.flips: dict[int, float] = {}
        self.endings = {int(name.removeprefix("trial")): ending for name, ending in endings.items()}
        self.meeting: threading.Barrier | None = None
        monkeypatch.setattr(module, "_train", self)
        monkeypatch.setattr(evolve_report, "_plot", lambda *arguments: None)  # takes longer than all the rest

    def __call__(self, config: object, claim: Claim) -> str:
        number = claim.trial.number
        self.numbers.append(number)
        if self.meeting is not None and len(self.numbers) <= 2:
            self.meeting.wait(timeout=60)
        flip = load_hyp(claim.folder / "hyp.yaml").flipud
        assert self.flips.setdefault(number, flip) == flip
        ending = self.endings.pop(number, "")
        if isinstance(ending, BaseException):
            raise ending
        if not ending:
            figure = 1 - abs(flip - 0.3)
            ResultsFile(claim.folder / "results.csv").append(
                0, {"metrics/mAP_0.5": figure, "metrics/mAP_0.5:0.95": figure}
            )
        return ending


def test_fitness_is_yolov5s_and_of_the_best_epoch(tmp_path):
    results = ResultsFile(tmp_path / "results.csv")
    assert best_epoch(results.path) is None
    results.append(0, {})  # an epoch that was not validated
    assert best_epoch(results.path) is None
    for epoch, (map50, map50_95) in enumerate([(0.5, 0.3), (0.4, 0.35), (0.9, 0.2)], 1):
        results.append(epoch, {"metrics/mAP_0.5": map50, "metrics/mAP_0.5:0.95": map50_95})
    assert best_epoch(results.path)["epoch"] == 2
    assert fitness(best_epoch(results.path)) == pytest.approx(0.1 * 0.4 + 0.9 * 0.35)


def test_a_failed_trial_is_recorded_and_the_others_go_on(configure, monkeypatch, capsys):
    runs = Runs(monkeypatch, trial1="out of memory (exit code 2, log.txt)")
    folder = evolve(EvolveRequest(configure(), 4, sampler="tpe"))
    assert runs.numbers == [0, 1, 2, 3]
    assert "Trial 1, 2 of 4 ended: failed: out of memory (exit code 2, log.txt); best" in capsys.readouterr().out
    rows = read_csv(folder)
    assert [row["fitness"] == row["fitness"] for row in rows] == [True, False, True, True]
    best = max((number for number in (0, 2, 3)), key=lambda number: -abs(runs.flips[number] - 0.3))
    assert load_hyp(folder / "hyp_evolve.yaml").flipud == runs.flips[best]
    assert evolve(EvolveRequest(configure(), 4, sampler="tpe")) == folder
    assert len(runs.numbers) == 4  # a failed trial is not done again


def test_an_interrupted_trial_goes_on_with_its_own_values(configure, monkeypatch, capsys):
    runs = Runs(monkeypatch, trial1=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        evolve(EvolveRequest(configure(), 3, sampler="tpe"))
    assert "Interrupted in trial 1; the same command goes on" in capsys.readouterr().out
    evolve(EvolveRequest(configure(), 3, sampler="tpe"))
    assert runs.numbers == [0, 1, 1, 2]
    assert "Trial 1 was interrupted and goes on" in capsys.readouterr().out


def test_two_workers_share_the_trials(configure, monkeypatch):
    runs = Runs(monkeypatch)
    runs.meeting = threading.Barrier(2)  # the first two trials run at the same time
    with ThreadPoolExecutor(2) as pool:
        for worker in [pool.submit(evolve, EvolveRequest(configure(), 6, sampler="tpe")) for _ in range(2)]:
            worker.result()
    assert sorted(runs.numbers) == list(range(6))
    assert len(set(runs.flips.values())) == 6  # no two trials with the same values
    assert len(read_csv(Path(configure().project) / "exp")) == 6


def test_by_default_new_values_lie_near_the_best(configure, monkeypatch):
    """TPE's second trial came from all over the ranges, with a fifth of the first one's fitness."""
    Runs(monkeypatch)
    config = configure()
    folder = evolve(EvolveRequest(config, 4))
    given = load_hyp(config.hyp).to_dict()
    for number in range(1, 4):
        drawn = load_hyp(folder / f"trial{number}" / "hyp.yaml").to_dict()
        assert drawn != given
        assert all(abs(drawn[name] - given[name]) <= 2 * given[name] for name in SPACE)
        assert abs(drawn["momentum"] / given["momentum"] - 1) < 0.25


def test_the_given_values_may_lie_outside_of_the_ranges(configure, monkeypatch, tmp_path):
    hyp = tmp_path / "hyp.yaml"
    hyp.write_text("lr0: 0.5\nflipud: 0.9\n")
    runs = Runs(monkeypatch)
    folder = evolve(EvolveRequest(configure(hyp=str(hyp)), 2))
    assert load_hyp(folder / "trial0" / "hyp.yaml").lr0 == 0.5
    assert runs.flips[0] == 0.9


def test_a_used_name_is_left_to_who_uses_it(configure, monkeypatch, capsys):
    Runs(monkeypatch)
    first = evolve(EvolveRequest(configure(), 1, sampler="tpe"))
    before = (first / "evolve.csv").read_text()
    for trials in (1, 2):  # and the search under the next name goes on like any other
        assert evolve(EvolveRequest(configure(imgsz=96), trials)) == first.with_name("exp2")
        assert f"{first} holds a search with other settings (imgsz was 64, now 96)" in capsys.readouterr().out
    assert len(read_csv(first.with_name("exp2"))) == 2
    assert (first / "evolve.csv").read_text() == before

    theirs = first.with_name("theirs")
    theirs.mkdir()
    (theirs / "evolve.csv").write_text("generation,map\n")
    assert evolve(EvolveRequest(configure(name="theirs"), 1)) == first.with_name("theirs2")
    assert f"{theirs} holds files that this program did not write" in capsys.readouterr().out
    assert [(file.name, file.read_text()) for file in theirs.iterdir()] == [("evolve.csv", "generation,map\n")]


def test_mistakes(configure, monkeypatch, tmp_path):
    Runs(monkeypatch, trial0="no data", trial1="no data", trial2="no data")
    with pytest.raises(ValueError, match="--evolve: all of the first 3 trials failed; the last: no data"):
        evolve(EvolveRequest(configure(), 5, sampler="tpe"))
    Runs(monkeypatch, trial0="no data")
    with pytest.raises(ValueError, match="--evolve: all trials have failed; their logs are in"):
        evolve(EvolveRequest(configure(name="one"), 1))
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    for name, value in torchrun.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="--evolve: start it as it is, without a launcher; --device 0,1"):
        EvolveRequest(configure(), 5, sampler="tpe")


@pytest.mark.parametrize(
    ("training", "begins"), [({"optimizer": {}}, "--resume"), ({}, "--weights"), (None, "--weights")]
)
def test_a_run_is_resumed_if_it_can_be(configure, workshop, monkeypatch, tmp_path, training, begins):
    commands: list[list[str]] = []

    def popen(command: list[str], **options: object) -> SimpleNamespace:
        commands.append(command)
        options["stdout"].write(b"a line\nthe reason\n\n")
        return SimpleNamespace(wait=lambda: 2, poll=lambda: 2)

    monkeypatch.setattr(child_process.subprocess, "Popen", popen)
    folder = tmp_path / "trial4"
    (folder / "weights").mkdir(parents=True)
    if training is not None:
        model = build_model(load_spec(workshop / "nano.yaml").with_classes(2))
        save_model(model, folder / "weights" / "last.pt", training=training)
    claim = Claim(SimpleNamespace(number=4), folder, 0)
    assert module._train(configure(weights="given.pt"), claim) == f"the reason (exit code 2, {folder / 'log.txt'})"
    words = commands[0][2:]
    assert words[0] == begins
    if begins == "--resume":
        assert words[1] == str(folder / "weights" / "last.pt")
    else:
        place = {"--project": str(tmp_path), "--name": "trial4", "--hyp": str(folder / "hyp.yaml")}
        assert {flag: words[words.index(flag) + 1] for flag in place} == place
        assert "--exist-ok" in words


def test_a_finished_run_is_not_done_again(configure, workshop, monkeypatch, tmp_path):
    monkeypatch.setattr(child_process.subprocess, "Popen", None)
    (tmp_path / "weights").mkdir()
    model = build_model(load_spec(workshop / "nano.yaml").with_classes(2))
    save_model(model, tmp_path / "weights" / "last.pt", training={"epochs_done": 1})
    assert module._train(configure(), Claim(SimpleNamespace(number=0), tmp_path, 0)) == ""


def test_the_trials_yaml_is_a_hyp_file(configure, monkeypatch):
    Runs(monkeypatch)
    folder = evolve(EvolveRequest(configure(), 1, sampler="tpe"))
    text = (folder / "hyp_evolve.yaml").read_text()
    assert text.startswith("# The best of 1 trials: trial 0, fitness 0.7\n")
    assert yaml.safe_load(text)["lr0"] == 0.01
