"""Runs killed with SIGKILL and resumed end with the weights of a run that was never interrupted.

With `pytest -s` it prints a line for each kill.
"""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from engine.training.results_csv import ResultsFile
from tests.support.tiny_runs import assert_same_weights

EPOCHS = 4
POINTS = 10  # how often the run is killed, every third time while it writes a checkpoint

# Runs train.py in a process that kills itself: `seconds` after its first batch, or in the given write of a checkpoint.
DRIVER = """
import os, signal, sys, threading
from engine.training import progress_bar as progress
from engine.config.parser import run_cli
import models.weights.checkpoint
import train

when, amount = sys.argv.pop(1), float(sys.argv.pop(1))

def die():
    os.kill(os.getpid(), signal.SIGKILL)

if when == "seconds":
    plain = progress.Progress.on_train_batch_end
    timers = []
    def first_batch(self, *args):
        plain(self, *args)
        if not timers:
            timers.append(threading.Timer(amount, die))
            timers[0].daemon = True
            timers[0].start()
    progress.Progress.on_train_batch_end = first_batch
elif when == "write":
    save, writes = models.weights.checkpoint.torch.save, []
    def half_saved(data, file):
        writes.append(file)
        if len(writes) == amount:
            file.write(b"half a checkpoint")
            file.flush()
            die()
        save(data, file)
    models.weights.checkpoint.torch.save = half_saved
sys.exit(run_cli(train.main))
"""


def run(root: Path, arguments: list[str], when: str = "never", amount: float = 0) -> int:
    """Exit code of train.py, -9 if it was killed."""
    command = [sys.executable, "-c", DRIVER, when, str(amount), *arguments]
    return subprocess.run(command, cwd=root, check=False, capture_output=True).returncode


@pytest.mark.slow
def test_killed_at_random_points(root: Path, workshop: Path, tmp_path: Path) -> None:
    settings = ["--data", "set.yaml", "--hyp", "hyp.yaml", "--cfg", "nano.yaml"]
    settings = [str(workshop / word) if word.endswith(".yaml") else word for word in settings]
    settings += ["--epochs", str(EPOCHS), "--batch", "2", "--img", "64", "--workers", "2", "--device", "cpu"]
    settings += ["--noplots", "--project", str(tmp_path), "--name"]
    assert run(root, [*settings, "whole"]) == 0
    rng, killed = random.Random(0), 0
    for point in range(POINTS):
        name = f"killed{point}"
        when, amount = ("write", rng.randint(1, 2 * EPOCHS)) if point % 3 == 0 else ("seconds", rng.uniform(0, 1.5))
        code = run(root, [*settings, name], when, amount)
        last = tmp_path / name / "weights" / "last.pt"
        moment = f"in write {amount} of a checkpoint" if when == "write" else f"{amount:.2f} s after the first batch"
        if code == 0:
            print(f"{name}: done before it would have been killed, {moment}")
            continue
        assert code == -9
        killed += 1
        resumed = last.is_file()
        again = ["--resume", str(last)] if resumed else [*settings, name, "--exist-ok"]
        assert run(root, again) == 0, f"point {point}: killed by {when} {amount}"
        for file in ("last.pt", "best.pt"):
            assert_same_weights(tmp_path / "whole" / "weights" / file, tmp_path / name / "weights" / file)
        rows = [ResultsFile(tmp_path / part / "results.csv").rows() for part in ("whole", name)]
        assert str(rows[0]) == str(rows[1])
        assert not [file for file in last.parent.iterdir() if file.suffix != ".pt"]
        print(f"{name}: killed {moment}, {'resumed' if resumed else 'begun again'}; the same weights and figures")
    assert killed >= POINTS // 2
