"""A loss that is not a number, memory that runs out, and signals: what they cost a run."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml

from engine.config.train_request import ResumeRequest
from engine.training.lightning_module import DetectionModule
from engine.training.loss_and_memory_recovery import EVERY_BATCHES, GoodState, is_out_of_memory
from engine.training.progress_bar import Progress
from engine.training.results_csv import ResultsFile
from engine.training.run_training import train
from engine.training.weight_average import ModelEMA
from files.signals import Terminated
from models.loss import DetectionLoss, LossParts
from models.weights.checkpoint import read_checkpoint
from tests.support.tiny_runs import assert_same_weights, stop_in_epoch, weights_of


def spoil(monkeypatch, calls):
    """Make the loss of some batches, counted over the run's training and validation, not a number."""
    plain, done = DetectionLoss._compute, []

    def broken(self, raw, matches):
        done.append(1)
        parts = plain(self, raw, matches)
        return LossParts(*(part * float("nan") for part in parts)) if len(done) in calls else parts

    monkeypatch.setattr(DetectionLoss, "_compute", broken)


@pytest.mark.parametrize("call", [2, 3], ids=["in the middle", "at the end of an epoch"])
def test_a_batch_whose_loss_is_not_a_number_is_left_out(configure, monkeypatch, capsys, call):
    spoil(monkeypatch, [call])
    folder = train(configure(epochs=2, batch_size=2, noval=True)).folder
    out = capsys.readouterr().out
    assert re.search(rf"\(box nan, .*\) is not a number in epoch 0, batch {call - 1} \(.*png, .*png\): back to", out)
    assert "(1 of 3 times" in out
    rows = ResultsFile(folder / "results.csv").rows()
    assert len(rows) == 2
    assert all(torch.isfinite(torch.tensor(row["train/box_loss"])) for row in rows)
    assert all(value.isfinite().all() for value in weights_of(folder / "weights" / "last.pt").values())


def test_three_in_a_row_stop_the_run_and_keep_the_weights(configure, monkeypatch, tmp_path):
    spoil(monkeypatch, range(7, 100))
    message = r"not a number in epoch 3, batch 0, and going back .* did not help 2 times .* kept.*: /.*png, /.*png$"
    with pytest.raises(ValueError, match=message):
        train(configure(epochs=5, batch_size=2, noval=True))
    last = read_checkpoint(tmp_path / "runs" / "exp" / "weights" / "last.pt")
    assert last.training["epoch"] >= 1
    assert all(value.isfinite().all() for value in last.state_dict.values())


@pytest.fixture
def state():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    good = GoodState(model, optimizer, ModelEMA(model))
    good.begin_epoch()
    return good


def step(state):
    state.model(torch.randn(4, 3)).square().sum().backward()
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.ema.update()


def everything(state):
    momenta = [value["momentum_buffer"] for value in state.optimizer.state.values() if value]
    return [t.clone() for t in (*state.model.state_dict().values(), *state.ema.model.state_dict().values(), *momenta)]


def test_going_back_is_to_the_last_confirmed_state_to_the_bit(state):
    step(state)
    state.offer(EVERY_BATCHES)
    expected, updates = everything(state), state.ema.updates
    state.confirm()
    step(state)
    state.offer(2 * EVERY_BATCHES)  # never confirmed
    for _ in range(2):  # what is put back is not trained on in place
        step(state)
        state.restore("The loss", "epoch 0, batch 9", ["a.jpg"])
        torch.testing.assert_close(everything(state), expected, rtol=0, atol=0)
        assert state.ema.updates == updates
    with pytest.raises(ValueError, match=r"The loss is not a number in epoch 0, batch 9.*a\.jpg, b\.jpg$"):
        state.restore("The loss", "epoch 0, batch 9", ["a.jpg", "b.jpg"])


def test_progress_starts_the_count_anew(state):
    for _ in range(5):
        state.restore("The loss", "epoch 0, batch 9", ["a.jpg"])
        step(state)
        state.offer(EVERY_BATCHES)
        state.confirm()


def test_an_epoch_without_a_good_batch_does_not_start_the_count_anew(state):
    for epoch in range(2):
        state.restore("The loss", f"epoch {epoch}, batch 0", ["a.jpg"])
        state.begin_epoch()
    with pytest.raises(ValueError, match="epoch 2"):
        state.restore("The loss", "epoch 2, batch 0", ["a.jpg"])


def test_weights_that_are_not_numbers_are_noticed(state):
    assert state.is_sound()
    state.ema.model[0].weight[1, 1] = float("inf")
    assert not state.is_sound()


def short_of_memory(monkeypatch, most_images, from_epoch=0):
    plain = DetectionModule.training_step

    def step(self, batch, batch_idx):
        if len(batch.images) > most_images and self.current_epoch >= from_epoch:
            torch.empty(2**60)  # what torch itself says when there is not enough
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(DetectionModule, "training_step", step)


def test_without_memory_in_the_first_epoch_the_batch_is_halved(configure, monkeypatch, capsys):
    fitting = train(configure(batch_size=1, noval=True, name="fitting")).folder
    short_of_memory(monkeypatch, 1)
    folder = train(configure(batch_size=4, noval=True, name="short")).folder
    out = capsys.readouterr().out
    assert "Out of memory with --batch 4 in the first epoch: beginning again with 2 images a batch" in out
    assert "1 images a batch and an optimiser step every 64 batches" in out
    assert_same_weights(fitting / "weights" / "last.pt", folder / "weights" / "last.pt")
    assert yaml.safe_load((folder / "opt.yaml").read_text())["batch_size"] == 1
    assert not folder.with_name("short2").exists()


def test_memory_that_runs_out_later_or_with_one_image_ends_the_run(configure, monkeypatch):
    with monkeypatch.context() as patch:
        short_of_memory(patch, 1, from_epoch=1)
        with pytest.raises(ValueError, match=r"out of memory in epoch 1, .*: python train.py --resume .*last\.pt$"):
            train(configure(batch_size=2))
    short_of_memory(monkeypatch, 0)
    with pytest.raises(ValueError, match=r"out of memory with one image of 64 px: choose a smaller --imgsz"):
        train(configure(batch_size=2))


def test_other_errors_of_torch_are_not_taken_for_a_lack_of_memory():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_sigterm_saves_and_says_how_to_go_on(configure, monkeypatch, capsys):
    plain = Progress.on_train_batch_end

    def terminated(self, lightning, module, outputs, batch, batch_idx):
        plain(self, lightning, module, outputs, batch, batch_idx)
        if module.current_epoch == 1 and batch_idx == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    whole = train(configure(epochs=3, batch_size=2, name="whole")).folder
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_train_batch_end", terminated)
        with pytest.raises(Terminated):
            train(configure(epochs=3, batch_size=2, name="parts"))
    parts = whole.with_name("parts")
    assert f"python train.py --resume {parts / 'weights' / 'last.pt'}" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) is before
    train(ResumeRequest(None, whole.parent))
    assert_same_weights(whole / "weights" / "last.pt", parts / "weights" / "last.pt")


def test_a_finished_run_can_be_made_longer(configure, capsys):
    folder = train(configure(epochs=2, patience=1)).folder
    last = folder / "weights" / "last.pt"
    before, first = weights_of(last), (folder / "results.csv").read_text()
    again = train(ResumeRequest(last, folder.parent, epochs=4))
    assert again.folder == folder
    assert "Finished, now longer, from the averaged weights" in capsys.readouterr().out
    assert (folder / "results.csv").read_text().startswith(first)
    rates = [row["x/lr1"] for row in ResultsFile(folder / "results.csv").rows()]
    assert len(rates) in (3, 4)  # patience 1 counts afresh
    assert read_checkpoint(last).training["epochs_done"] == len(rates)
    assert any(not torch.equal(value, before[name]) for name, value in weights_of(last).items())
    assert yaml.safe_load((folder / "opt.yaml").read_text())["epochs"] == 4
    with pytest.raises(ValueError, match=rf"--epochs 2: expected more than the {len(rates)} epochs that .*last.pt has"):
        train(ResumeRequest(last, folder.parent, epochs=2))


def test_an_interrupted_run_can_be_made_longer_too(configure, monkeypatch):
    config = configure(epochs=2)
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    folder = train(ResumeRequest(None, Path(config.project), epochs=3)).folder
    assert len(ResultsFile(folder / "results.csv").rows()) == 3


def test_an_image_that_goes_bad_during_training_is_skipped_and_counted(
    configure, monkeypatch, workshop, tmp_path, capsys
):
    copy = tmp_path / "copy"
    shutil.copytree(workshop, copy)
    images = sorted((copy / "set" / "images" / "train").iterdir())
    text = (copy / "set.yaml").read_text().replace(str(workshop), str(copy))
    (copy / "set.yaml").write_text(text)
    plain = Progress.on_train_epoch_start

    def damage(self, lightning, module):
        plain(self, lightning, module)
        if module.current_epoch == 1:
            images[2].write_bytes(b"no image")

    monkeypatch.setattr(Progress, "on_train_epoch_start", damage)
    train(configure(data=str(copy / "set.yaml"), epochs=3, cache="none"))  # from memory it would still be good
    out = capsys.readouterr().out
    assert out.count("could not be read and were left out") == 1
    assert f"1 of 6 training images could not be read and were left out: {images[2]}" in out
