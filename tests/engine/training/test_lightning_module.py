"""The training step and the progress line, piece by piece."""

from contextlib import nullcontext
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch

from data.loading.loader import Batch
from engine.runtime.console import clock
from engine.runtime.device import Precision
from engine.training.forward_and_loss import batch_losses, scale_images
from engine.training.lightning_loop import _fp32_steps, quiet_lightning
from engine.training.lightning_module import DetectionModule, LossTrail
from engine.training.optimizer_and_schedule import Schedule, create_optimizer
from engine.training.progress_bar import Progress
from engine.training.weight_average import ModelEMA
from models.loss import LossParts


def test_a_single_image_that_cannot_be_normalised():
    pooling = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.BatchNorm2d(3))

    def shape(raw, targets):
        return raw.shape

    assert batch_losses(pooling, shape, torch.zeros(2, 3, 8, 8), None, nullcontext()) == (2, 3, 1, 1)
    with pytest.raises(ValueError, match="choose a --batch-size above 1 that does not leave a single image"):
        batch_losses(pooling, shape, torch.zeros(1, 3, 8, 8), None, nullcontext())


def test_gradients_are_limited_to_norm_10():
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    for parameter in parameters:
        parameter.grad = torch.tensor([30.0, 40.0])
    DetectionModule.on_before_optimizer_step(SimpleNamespace(_parameter_list=parameters), None)
    torch.testing.assert_close(torch.cat([p.grad for p in parameters]).norm(), torch.tensor(10.0))
    torch.testing.assert_close(parameters[0].grad, torch.tensor([3.0, 4.0]) * 2**0.5)


class Recorder(torch.nn.Module):
    """A convolution that notes in which type its result is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 1)
        self.seen: list[torch.dtype] = []

    def forward(self, images):
        maps = self.conv(images)
        self.seen.append(maps.dtype)
        return maps.float().mean()


def test_the_first_batches_of_a_bf16_run_may_be_in_fp32():
    model = Recorder()
    schedule = Schedule(1, 4, 64, 0.01, 0.01, 0.9, 0, 0.8, 0.1)
    module = DetectionModule(
        model, lambda maps, targets: LossParts(maps, *[maps.detach()] * 3), ModelEMA(model),
        create_optimizer(model, "SGD", lr=0.01, momentum=0.9, weight_decay=0.0), schedule,
        precision=Precision(torch.bfloat16, True, ""), image_px=32, fp32_steps=2,
    )  # fmt: skip
    trainer = pl.Trainer(
        max_epochs=1, precision="bf16-mixed", accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    batch = Batch(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(0, 6), ("a", "b"), ())
    with quiet_lightning():
        trainer.fit(module, torch.utils.data.DataLoader([batch] * 4, batch_size=None))
    assert model.seen == [torch.float32, torch.float32, torch.bfloat16, torch.bfloat16]


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, 132),
        ({"weights": "base.pt"}, 0),
        ({"precision": "bf16"}, 0),
        ({"dtype": torch.float32}, 0),
    ],
)
def test_the_warm_up_of_random_weights_is_in_fp32(settings, steps):
    given = {"weights": "", "precision": "auto", "dtype": torch.bfloat16} | settings
    run = SimpleNamespace(config=SimpleNamespace(**given), precision=Precision(given["dtype"], True, ""))
    assert _fp32_steps(run, Schedule(30, 44, 16, 0.01, 0.01, 0.937, 3, 0.8, 0.1)) == steps


def test_multi_scale_varies_the_size_by_half_in_strides():
    module = SimpleNamespace(
        multi_scale=True, seed=0, current_epoch=3, image_px=128, precision=Precision(torch.float32, True, "")
    )
    module.model = SimpleNamespace(stride=torch.tensor([8.0, 16.0, 32.0]))
    images = torch.full((1, 3, 128, 64), 255, dtype=torch.uint8)
    sizes = []
    for batch in range(60):
        pixels = DetectionModule._network_input(module, images, batch)
        assert pixels.shape[2] == module.network_px
        torch.testing.assert_close(pixels, torch.ones_like(pixels))
        sizes.append(tuple(pixels.shape[2:]))
    assert {height for height, _ in sizes} == {64, 96, 128, 160, 192}
    assert all(width == -(-height // 64) * 32 for height, width in sizes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_are_scaled_as_in_float32(dtype):
    """Dividing in bf16 rounds once, as converting a float32 quotient does."""
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    got = scale_images(images, Precision(dtype, True, ""))
    assert got.dtype is dtype
    torch.testing.assert_close(got, (images.float() / 255).to(dtype), rtol=0, atol=0)


def test_losses_come_one_batch_late():
    trail = LossTrail()
    parts = [LossParts(*torch.full((4,), float(i))) for i in range(2)]
    assert trail.push(parts[0], ["a"]) is None
    assert trail.push(parts[1], ["b"]) == (0.0, 0.0, 0.0, ["a"])
    assert trail.flush() == (1.0, 1.0, 1.0, ["b"])
    assert trail.flush() is None


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (-3, "0:00:00"), (3725.4, "1:02:05")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_terminal_shows_a_bar_and_pipes_one_line_an_epoch(capsys):
    module = SimpleNamespace(
        mean_losses=lambda: (0.1, 0.2, 0.3), current_epoch=0, device=torch.device("cpu"), network_px=64
    )
    batch = SimpleNamespace(images=torch.zeros(2, 3, 8, 8), targets=torch.zeros(5, 6))
    shown = {}
    for terminal in (True, False):
        progress = Progress(3, 2, terminal=terminal)
        progress.on_train_epoch_start(None, module)
        for index in range(2):
            progress.on_train_batch_end(None, module, None, batch, index)
        progress.on_train_epoch_end(None, module)
        progress.finish_epoch(module, "mAP50 0.5")
        shown[terminal] = capsys.readouterr()
    assert "2/2" in shown[True].err
    assert shown[False].err == ""
    header, line = shown[False].out.splitlines()
    assert header.split()[:7] == ["Epoch", "memory", "box_loss", "obj_loss", "cls_loss", "Instances", "Size"]
    assert line.split()[0] == "0/2"
    assert line.split()[2:7] == ["0.1", "0.2", "0.3", "5", "64"]
    assert "mAP50 0.5" in line
