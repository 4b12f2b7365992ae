"""Two processes that train together on the CPU, started by torchrun as users start them, beside one process alone."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from engine.training.results_csv import COLUMNS, ResultsFile
from engine.training.run_training import train
from tests.support.tiny_runs import assert_same_weights, weights_of

WATCHED = Path(__file__).resolve().parents[2] / "support" / "watched_train.py"
TRAIN_IMAGES, VAL_IMAGES = 6, 3  # of the workshop


def settings(workshop: Path, project: Path, *words: str) -> list[str]:
    """train.py's command line for a small run; later words win."""
    given = ["--data", workshop / "set.yaml", "--hyp", workshop / "hyp.yaml", "--cfg", workshop / "nano.yaml"]
    given += ["--epochs", "2", "--batch", "4", "--img", "64", "--workers", "0", "--device", "cpu", "--precision", "32"]
    return [*map(str, given), "--noplots", "--project", str(project), *words]


def launch(
    root: Path, notes: Path, arguments: list[str], *, processes: int = 2, by_itself: bool = False, **variables: str
) -> tuple[subprocess.CompletedProcess[str], list[SimpleNamespace]]:
    """Run train.py by torchrun, or let it start its processes itself; returns what is printed and what each noted."""
    notes.mkdir(exist_ok=True)
    for old in notes.glob("*.json"):
        old.unlink()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NOTES": str(notes), **variables}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    if by_itself:
        launcher, environment["CPUS"] = [], str(processes)
    command = [sys.executable, *launcher, str(WATCHED), *arguments]
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True, env=environment)
    found = [notes / f"{rank}.json" for rank in range(processes)]
    return done, [SimpleNamespace(**json.loads(file.read_text())) for file in found if file.is_file()]


def rows(folder: Path) -> torch.Tensor:
    return torch.tensor([[row[name] for name in COLUMNS] for row in ResultsFile(folder / "results.csv").rows()])


def inside(paths: list[str], folder: Path) -> list[str]:
    return [path for path in paths if Path(path).absolute().is_relative_to(folder)]


def complaints(stderr: str) -> list[str]:
    """What was said on stderr, without torchrun's own warnings about a busy machine."""
    return [line for line in stderr.splitlines() if "dynamic_rendezvous" not in line]


def test_two_processes_follow_one(root: Path, workshop: Path, tmp_path: Path, configure) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"base": "nano.yaml", "insert": [{"after": "neck.P3", "attention": "SE"}]}))
    overlay.with_name("nano.yaml").write_text((workshop / "nano.yaml").read_text())
    runs = tmp_path / "runs"
    words = ["--cfg", str(overlay), "--sync-bn", "--name", "two", "--attention", "ECA@backbone.P4"]
    done, workers = launch(root, tmp_path / "notes", settings(workshop, runs, *words))
    assert done.returncode == 0, done.stderr
    first, second = workers

    # Every process has the inserted modules, ends with the same weights and average, and knows the result.
    for worker in workers:
        assert {"SE", "ECA", "JointBatchNorm"} <= set(worker.modules)
    assert first.modules == second.modules
    assert first.weights == second.weights
    assert first.map50 == second.map50

    # Each image once an epoch, in batches of two; the validation counts each once, and rank 0 alone repeats it all.
    for epoch in range(2):
        batches = [[row[1:] for row in worker.trained if row[0] == epoch] for worker in workers]
        assert [len(batch) for own in batches for batch in own] == [2, 1, 2, 1]
        names = [name for own in batches for batch in own for name in batch]
        assert Counter(names) == {f"{i}.png": 1 for i in range(TRAIN_IMAGES)}
    seen = [name for worker in workers for batch in worker.validated for name in batch]
    assert Counter(seen) == {f"{i}.png": 3 for i in range(VAL_IMAGES)}
    assert [len(worker.validated) for worker in workers] == [2 + 1, 2]

    # Rank 0 alone writes and prints.
    assert inside(first.written, runs)
    assert not inside(second.written, runs)
    assert not inside(second.written, workshop)
    for line in ("Training for 2 epochs at 64 px, 2 batches of 4", "Device cpu, 2 processes", "Validating"):
        assert done.stdout.count(line) == 1
    assert len(re.findall(r"P \d\.\d+  R \d", done.stdout)) == 2  # an epoch's line
    said = [
        line for line in done.stderr.splitlines() if "dynamic_rendezvous" not in line
    ]  # torchrun's, on a busy machine
    assert not said

    # One process with the same batch: the same losses, and weights that differ by the rounding of half precision.
    train(configure(batch_size=4, cfg=str(overlay), attention=("ECA@backbone.P4",), name="one"))
    one, two = runs / "one", runs / "two"
    same = [i for i, name in enumerate(COLUMNS) if name.startswith(("train/", "x/"))]
    torch.testing.assert_close(rows(two)[:, same], rows(one)[:, same], rtol=1e-3, atol=1e-6)
    last = Path("weights") / "last.pt"
    torch.testing.assert_close(weights_of(two / last), weights_of(one / last), rtol=2e-3, atol=1e-4)


@pytest.mark.slow
def test_a_run_of_two_that_is_interrupted_goes_on_as_if_it_had_not_been(
    root: Path, workshop: Path, tmp_path: Path
) -> None:
    runs, notes = tmp_path / "runs", tmp_path / "notes"
    words = settings(workshop, runs, "--epochs", "3", "--workers", "1", "--attention", "ECA@neck.P3")
    words += ["--freeze", "backbone", "--thaw-after", "2"]  # what thaws has to be exchanged too
    done, workers = launch(root, notes, [*words, "--name", "whole"])
    assert done.returncode == 0, done.stderr
    assert workers[0].weights == workers[1].weights
    done, workers = launch(root, notes, [*words, "--name", "broken"], STOP_EPOCH="1")
    assert done.returncode == 1
    assert done.stdout.count("to go on after the last full one: python train.py --resume") == 1
    assert re.findall("^interrupted$", done.stderr, re.M) == ["interrupted"]
    last = runs / "broken" / "weights" / "last.pt"
    done, workers = launch(root, notes, ["--resume", str(last)])
    assert done.returncode == 0, done.stderr
    assert not inside(workers[1].written, runs)
    for file in ("last.pt", "best.pt"):
        assert_same_weights(runs / "whole" / "weights" / file, last.with_name(file))
    torch.testing.assert_close(rows(runs / "broken"), rows(runs / "whole"), rtol=0, atol=0, equal_nan=True)


@pytest.mark.slow
def test_early_stopping_reaches_all(root: Path, workshop: Path, tmp_path: Path) -> None:
    words = settings(workshop, tmp_path / "runs", "--epochs", "9", "--patience", "1", "--batch", "2")
    done, workers = launch(root, tmp_path / "notes", words)
    assert done.returncode == 0, done.stderr
    assert "Stopped early" in done.stdout
    assert workers[0].epochs == workers[1].epochs < 8


@pytest.mark.slow
def test_a_last_batch_of_fewer_images_than_processes_is_filled_up(root: Path, workshop: Path, tmp_path: Path) -> None:
    words = settings(workshop, tmp_path / "runs", "--epochs", "1", "--batch", "5", "--rect")
    done, workers = launch(root, tmp_path / "notes", words, processes=5)
    assert done.returncode == 0, done.stderr
    seen = Counter(name for worker in workers for row in worker.trained for name in row[1:])
    assert sorted(seen) == [f"{i}.png" for i in range(TRAIN_IMAGES)]
    assert seen.total() == 10
    assert Counter(name for worker in workers[1:] for batch in worker.validated for name in batch).total() == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--batch", "3"], "--batch-size 3: is shared by 2 processes, so expected a multiple of 2; try 2 or 4"),
        (["--device", "98,99"], "--device 98: "),
        (["--epoch", "none"], "argument --epochs: invalid int value: 'none'"),
        (["--data", "nothing.yaml"], "nothing.yaml: no such data set YAML"),
    ],
)
def test_mistakes_are_told_once(root: Path, workshop: Path, tmp_path: Path, words: list[str], message: str) -> None:
    done, _ = launch(root, tmp_path / "notes", settings(workshop, tmp_path / "runs", *words))
    assert "exitcode  : 2" in done.stderr  # torchrun's report of the process that failed first
    assert done.stderr.count(message) == 1
    assert str(root / "engine") not in done.stderr  # the only traceback is torchrun's own
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_train_py_starts_its_processes_itself(root: Path, workshop: Path, tmp_path: Path) -> None:
    runs, notes = tmp_path / "runs", tmp_path / "notes"
    done, workers = launch(root, notes, settings(workshop, runs), by_itself=True)
    assert done.returncode == 0, done.stderr
    assert len(workers) == 2
    assert workers[0].weights == workers[1].weights
    assert not inside(workers[1].written, runs)
    assert done.stdout.count("Validating") == 1
    said = [
        line for line in done.stderr.splitlines() if "dynamic_rendezvous" not in line
    ]  # torchrun's, on a busy machine
    assert not said
    done, _ = launch(root, notes, settings(workshop, runs, "--batch", "3"), by_itself=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--batch-size 3: is shared by 2 processes" in done.stderr
    done, _ = launch(root, notes, settings(workshop, runs), by_itself=True, STOP_EPOCH="1")
    assert done.returncode == 130
    assert done.stderr == "interrupted\n"
    assert done.stdout.count("to go on after the last full one") == 1
