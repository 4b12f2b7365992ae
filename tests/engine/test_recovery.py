"""A loss that is not a number, memory that runs out, and signals: what they cost a run."""

import re

import pytest
import torch

from engine.ema import ModelEMA
from engine.recovery import EVERY_BATCHES, GoodState
from engine.results import ResultsFile
from engine.trainer import train
from models.checkpoint import read_checkpoint
from models.loss import DetectionLoss, LossParts
from tests.engine.tiny_runs import weights_of


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
