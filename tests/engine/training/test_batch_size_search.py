"""`--batch -1`: the choice from given figures, by hand, and real steps on this machine's CPU."""

from types import SimpleNamespace

import psutil
import pytest
import torch

from data.hyp import Hyperparameters
from engine.runtime.device import choose_precision
from engine.training import batch_size_search as autobatch
from engine.training.batch_size_search import Meter, Trial, fastest_batch, find_batch, largest_batch
from engine.training.run_training import train
from models.model_yaml import load_spec
from models.weights.checkpoint import read_checkpoint
from models.yolo import build_model

GIB = 2**30

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:lightning"),
]


def line(*batches: int, each: float = 0.5, base: float = 1.0) -> list[Trial]:
    return [Trial(batch, 1.0, int((base + each * batch) * GIB)) for batch in batches]


def test_the_line_through_the_memory_reaches_the_limit():
    trials = line(2, 4, 8, 16)  # 1 GiB and half a GiB an image
    assert largest_batch(trials, 17.1 * GIB, fp32_warmup=False) == 32
    assert largest_batch(trials, 20.4 * GIB, fp32_warmup=False) == 32  # 38 in whole eights
    assert largest_batch(trials, 7.1 * GIB, fp32_warmup=False) == 12
    assert largest_batch(trials, 17.1 * GIB, fp32_warmup=True) == 16
    assert largest_batch(line(2, 4, 8), 99 * GIB, fp32_warmup=False) == 8  # 16 ran out of memory
    assert largest_batch(line(2, 4, 8, 16, each=0), 99 * GIB, fp32_warmup=False) == 16
    for trials, limit in ((line(2), 9), (line(2, 4), 1)):
        with pytest.raises(ValueError, match=r"--batch-size -1: not even .* lower --imgsz"):
            largest_batch(trials, limit * GIB, fp32_warmup=False)


def test_the_smallest_of_the_fast_sizes():
    trials = [Trial(batch, batch / speed, 0) for batch, speed in ((8, 40.0), (16, 47.6), (32, 50.0), (64, 48.0))]
    assert fastest_batch(trials) == 16
    assert fastest_batch(trials[:1]) == 8


class FakeMeter:
    """Steps whose time and memory are known."""

    def __init__(self, bytes_per_image: int, seconds: dict[int, float]) -> None:
        self.seconds, self.bytes_per_image, self.tried = seconds, bytes_per_image, []
        self.device, self.model = torch.device("cpu"), torch.nn.Linear(1, 1)
        self.start = psutil.Process().memory_info().rss

    def __call__(self, batch: int) -> Trial:
        self.tried.append(batch)
        return Trial(batch, self.seconds.get(batch, batch / 10), self.start + batch * self.bytes_per_image)


@pytest.mark.parametrize(
    ("gib_per_image", "seconds", "images", "warmup", "tried", "chosen"),
    [
        (0.001, {}, 1000, False, [2, 8, 16, 32, 64], 8),  # as fast at every size
        (0.001, {8: 0.8, 16: 0.8, 32: 0.8, 64: 0.8}, 1000, False, [2, 8, 16, 32, 64], 64),
        (0.001, {8: 0.8, 16: 0.8, 32: 0.8, 64: 0.8}, 20, False, [2, 8, 16, 32, 64], 20),
        (0.001, {8: 0.8, 16: 2.0}, 1000, False, [2, 8, 16], 8),  # 16 is slower: larger ones are not tried
        (0.001, {8: 8.0}, 1000, False, [2, 8], 8),  # 16 images would take 16 s
        (1.0, {8: 0.8, 16: 0.8, 32: 0.8}, 1000, False, [2, 8, 16, 32], 32),  # half of 100 GiB free
        (1.0, {8: 0.8, 16: 0.8, 32: 0.8}, 1000, True, [2, 8, 16], 16),  # twice the memory in the warm-up
        (30.0, {}, 1000, False, [2], 2),
    ],
)
def test_a_cpu_tries_what_fits(monkeypatch, capsys, gib_per_image, seconds, images, warmup, tried, chosen):
    monkeypatch.setattr(autobatch.psutil, "virtual_memory", lambda: SimpleNamespace(available=100 * GIB))
    meter = FakeMeter(int(gib_per_image * GIB), seconds)
    assert find_batch(meter, images, fp32_warmup=warmup) == chosen
    assert meter.tried == tried
    assert f"50% of 100 GiB free may be used; chosen: {chosen}" in capsys.readouterr().out


def test_steps_are_real_and_leave_the_model_as_it_is(workshop):
    model = build_model(load_spec(workshop / "nano.yaml").with_classes(2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    device = torch.device("cpu")
    meter = Meter(model, Hyperparameters(), device, choose_precision("32", device), 64)
    one, many = meter(2), meter(32)
    assert many.seconds > one.seconds
    assert many.bytes > 0
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_run_goes_on_with_the_batch_that_was_found(configure, capsys, monkeypatch):
    monkeypatch.setattr(autobatch, "CPU_SIZES", (3,))
    folder = train(configure(batch_size=-1, epochs=1, multi_scale=True)).folder
    said = capsys.readouterr().out
    assert "--batch-size -1: 3: " in said
    assert "2 batches of 3" in said  # six images
    assert read_checkpoint(folder / "weights" / "last.pt").training["config"]["batch_size"] == 3
