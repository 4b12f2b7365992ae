"""`--freeze` and `--thaw-after` in whole training runs: what moves, what does not, and that a run resumes exactly."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from engine.config.train_config import TrainConfig
from engine.config.train_request import ResumeRequest
from engine.training.run_training import train
from models.spec.model_spec import ModelSpec
from models.weights.checkpoint import read_checkpoint
from tests.support.tiny_runs import assert_same_weights, make_config, stop_in_epoch, weights_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:lightning"),
]

Configure = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def start(workshop: Path) -> Path:
    """The weights of a short run without attention."""
    return train(make_config(workshop, workshop / "start", epochs=1)).folder / "weights" / "last.pt"


@pytest.fixture
def warm(configure: Configure, start: Path) -> Callable[..., TrainConfig]:
    """Settings of a run that goes on from `start` with two inserted modules, one of them with norms."""

    def made(**changes: object) -> TrainConfig:
        given = {"cfg": "", "weights": str(start), "attention": ("CoordAtt@neck.P3", "SE@backbone.P3")}
        return configure(**{**given, "noautoanchor": True, **changes})

    return made


def pairs(file: Path, start: Path) -> Iterator[tuple[str, bool, bool]]:
    """Of every tensor of a run: its key, whether its row was inserted, and whether it is as it was in `start`."""
    stored, before = read_checkpoint(file), weights_of(start)
    rows = {row: layer.base_row for row, layer in enumerate(stored.spec.layers)}
    for key, tensor in stored.training.get("model", stored.state_dict).items():
        _, row, rest = key.split(".", 2)
        base = rows[int(row)]
        same = base is not None and torch.equal(tensor.float(), before[f"model.{base}.{rest}"].float())
        yield key, base is None, same


def inserted(spec: ModelSpec) -> list[str]:
    return [layer.module for layer in spec.layers if layer.base_row is None]


@pytest.mark.parametrize(
    ("words", "frozen"),
    [
        (("backbone,!attention",), range(10)),
        (("0-2", "neck.P3", "detect"), [0, 1, 2, 17, 24]),
    ],
)
def test_frozen_rows_of_the_base_do_not_move_and_neither_do_their_statistics(warm, start, words, frozen):
    file = train(warm(freeze=words, epochs=1, save_period=1)).folder / "weights" / "epoch0.pt"
    spec = read_checkpoint(file).spec
    assert inserted(spec) == ["SE", "CoordAtt"]
    moved, running = set(), 0
    for key, new, same in pairs(file, start):
        row = spec.layers[int(key.split(".")[1])].base_row
        if row in frozen:
            assert same, key
            running += "running_" in key
        elif not new and not same:
            moved.add(row)
            if key.endswith(("running_mean", "running_var", "num_batches_tracked")):
                moved.add(key)
    assert running
    weighted = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 17, 18, 20, 21, 23, 24}
    assert {row for row in moved if isinstance(row, int)} == weighted - set(frozen)
    assert any(str(row).endswith("running_mean") for row in moved)


def test_only_the_inserted_modules_move_before_the_thaw_and_everything_after(warm, start, capsys):
    folder = train(warm(thaw_after=2, epochs=3, save_period=1, freeze=("0",))).folder / "weights"
    for epoch in (0, 1):
        kinds = {(new, same) for key, new, same in pairs(folder / f"epoch{epoch}.pt", start)}
        assert kinds == {(True, False), (False, True)}
    first, second = (read_checkpoint(folder / f"epoch{epoch}.pt") for epoch in (0, 1))
    moved = {k for k, t in second.training["model"].items() if not torch.equal(t, first.training["model"][k])}
    spec = second.spec
    rows = [i for i, layer in enumerate(spec.layers) if layer.base_row is None]
    assert {int(key.split(".")[1]) for key in moved} == set(rows)
    assert any("running_mean" in key for key in moved)  # CoordAtt's own norm
    # The average of what does not move is what it was, to the bit.
    before = weights_of(start)
    torch.testing.assert_close(second.state_dict["model.0.conv.weight"], before["model.0.conv.weight"], rtol=0, atol=0)
    thawed = [key for key, new, same in pairs(folder / "epoch2.pt", start) if not new and same]
    assert not [key for key in thawed if key.endswith(("conv.weight", "running_mean"))]
    said = capsys.readouterr().out
    assert "frozen: rows 0-4, 6-18, 20-26, " in said
    assert "parameter tensors until epoch 2" in said
    assert "Thawed before epoch 2; nothing is frozen" in said


def test_what_freeze_names_stays_frozen_after_the_thaw(warm, start):
    folder = train(warm(thaw_after=1, epochs=2, save_period=1, freeze=("backbone,!attention",))).folder / "weights"
    spec = read_checkpoint(folder / "epoch1.pt").spec
    for key, new, same in pairs(folder / "epoch1.pt", start):
        row = spec.layers[int(key.split(".")[1])].base_row
        if not new and row < 10:
            assert same, key
        elif key.endswith("conv.weight"):
            assert not same, key


@pytest.mark.parametrize(("optimizer", "stopped"), [("SGD", 1), ("SGD", 3), ("AdamW", 1), ("AdamW", 2)])
def test_a_warm_start_resumed_before_at_or_after_the_thaw_equals_the_whole_run(
    warm, monkeypatch, stopped, optimizer, whole_runs
):
    changes = {"epochs": 4, "thaw_after": 2, "optimizer": optimizer}
    if optimizer not in whole_runs:
        whole_runs[optimizer] = train(warm(name="whole", **changes)).folder
    whole = whole_runs[optimizer]
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, stopped)
        with pytest.raises(KeyboardInterrupt):
            train(warm(name="parts", **changes))
    parts = Path(warm().project) / "parts"
    assert read_checkpoint(parts / "weights" / "last.pt").training["epoch"] == stopped - 1
    train(ResumeRequest(parts / "weights" / "last.pt", parts.parent))
    for name in ("last.pt", "best.pt"):
        assert_same_weights(whole / "weights" / name, parts / "weights" / name)
    assert (whole / "results.csv").read_text() == (parts / "results.csv").read_text()


@pytest.fixture(scope="module")
def whole_runs() -> dict[str, Path]:
    """Uninterrupted runs by optimiser, made once."""
    return {}


def test_the_learning_rate_does_not_know_of_the_thaw(warm):
    plain = train(warm(epochs=2)).folder
    thawed = train(warm(epochs=2, thaw_after=1)).folder

    def rates(folder: Path) -> list[list[str]]:
        return [line.split(",")[-3:] for line in (folder / "results.csv").read_text().splitlines()]

    assert rates(plain) == rates(thawed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": ()}, r"--thaw-after: expected inserted modules to train in last.pt, but it has none; add"),
        (
            {"attention": ("SimAM",), "attention_start": "paper"},
            "--thaw-after: .* but its attention modules have no parameters",
        ),
        ({"freeze": ("attention",)}, "--freeze attention: nothing is left to train in the warm start of --thaw-after"),
        ({"freeze": ("spine",)}, r"--freeze spine: expected .* one of backbone, neck, head, detect, attention, backb"),
        ({"attention": ("CBAM@each",)}, "@each is a study .* compare.py"),
        ({"attention": ("CBAM@neck.P9",)}, r"no place 'neck\.P9'; it has backbone\.P1"),
    ],
)
def test_mistakes_are_told_before_a_run_folder_is_made(warm, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(warm(thaw_after=1, **changes))
    assert not (tmp_path / "runs").exists()


def test_the_script_with_nothing_inserted_is_one_line_and_exit_code_2(root, workshop, start, tmp_path):
    words = ["--data", str(workshop / "set.yaml"), "--weights", str(start), "--thaw-after", "2", "--img", "64"]
    command = [sys.executable, "train.py", *words, "--workers", "0", "--project", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("train.py: error: --thaw-after: expected inserted modules to train in last.pt")
