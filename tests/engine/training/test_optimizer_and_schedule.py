"""Parameter groups, schedule and average against the formulas they stand for."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from engine.training.optimizer_and_schedule import (
    NOMINAL_BATCH,
    Schedule,
    accumulation,
    apply_settings,
    create_optimizer,
    parameter_groups,
    scaled_decay,
)
from engine.training.weight_average import ModelEMA


class Gate(nn.Module):
    """A layer with a parameter of another name than weight or bias."""

    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1))


def small_model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(), Gate(), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1)
    )


def make_schedule(**changes) -> Schedule:
    values = {
        "epochs": 30,
        "batches": 44,
        "batch_size": 16,
        "lr0": 0.01,
        "lrf": 0.01,
        "momentum": 0.937,
        "warmup_epochs": 3.0,
        "warmup_momentum": 0.8,
        "warmup_bias_lr": 0.1,
    }
    return Schedule(**{**values, **changes})


def reference_settings(s: Schedule):
    """YOLOv5's loop with torch's scheduler and numpy's interpolation: (lr bias, lr weight, momentum, accumulate)."""
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [p]} for p in parameters], lr=s.lr0, momentum=s.momentum, nesterov=True)

    def factor(epoch):
        if s.cosine:
            return ((1 - math.cos(epoch * math.pi / s.epochs)) / 2) * (s.lrf - 1) + 1
        return (1 - epoch / s.epochs) * (1.0 - s.lrf) + s.lrf

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    scheduler.last_epoch = -1  # as YOLOv5 sets it before its loop: from here on the scheduler is one epoch behind
    warm = max(round(s.warmup_epochs * s.batches), 100)
    accumulate = max(round(64 / s.batch_size), 1)
    seen = []
    for epoch in range(s.epochs):
        for batch in range(s.batches):
            done = batch + s.batches * epoch
            if done <= warm:
                accumulate = max(1, np.interp(done, [0, warm], [1, 64 / s.batch_size]).round())
                for j, group in enumerate(optimizer.param_groups):
                    start = s.warmup_bias_lr if j == 0 else 0.0
                    group["lr"] = np.interp(done, [0, warm], [start, group["initial_lr"] * factor(epoch)])
                    group["momentum"] = np.interp(done, [0, warm], [s.warmup_momentum, s.momentum])
            first, second = optimizer.param_groups
            seen.append((first["lr"], second["lr"], first["momentum"], accumulate))
            optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cosine": True},
        {"batches": 10, "epochs": 15},
        {"batch_size": 24, "warmup_epochs": 1.5},
        {"batch_size": 128},
    ],
)
def test_schedule_equals_the_loop(changes):
    schedule = make_schedule(**changes)
    steps = schedule.epochs * schedule.batches
    got = [tuple(schedule.at(step, step // schedule.batches)) for step in range(steps)]
    np.testing.assert_allclose(got, reference_settings(schedule), rtol=1e-12, atol=1e-15)


def test_warmup_takes_at_least_100_steps():
    assert make_schedule(batches=5).warmup_steps == 100
    assert make_schedule(batches=44).warmup_steps == 132


@pytest.mark.parametrize(("batch", "wanted"), [(1, 64), (16, 4), (24, 3), (64, 1), (100, 1)])
def test_accumulation_and_decay(batch, wanted):
    assert accumulation(batch) == wanted
    assert scaled_decay(5e-4, batch) == pytest.approx(5e-4 * batch * wanted / NOMINAL_BATCH)


def test_every_parameter_is_in_one_group():
    model = small_model()
    groups = parameter_groups(model)
    assert [len(group) for group in groups] == [4, 3, 2]
    assert groups.decayed == [model[0].weight, model[3].gamma, model[5].weight]
    assert groups.norm == [model[1].weight, model[4].weight]
    listed = [id(p) for group in groups for p in group]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_steps_equal_those_of_the_plain_loop_to_the_bit(name):
    """`foreach` changes the speed, not the result."""
    model = small_model()
    plain = copy.deepcopy(model)
    fast = create_optimizer(model, name, lr=0.01, momentum=0.9, weight_decay=0.05)
    slow = create_optimizer(plain, name, lr=0.01, momentum=0.9, weight_decay=0.05)
    for group in slow.param_groups:
        group["foreach"] = False
    for _ in range(3):
        for a, b in zip(model.parameters(), plain.parameters(), strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        fast.step()
        slow.step()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_decay_reaches_weights_only():
    model = small_model()
    optimizer = create_optimizer(model, "SGD", lr=0.1, momentum=0.0, weight_decay=0.5)
    before = [p.detach().clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    decayed = {id(p) for p in parameter_groups(model).decayed}
    for parameter, old in zip(model.parameters(), before, strict=True):
        wanted = old * (1 - 0.1 * 0.5) if id(parameter) in decayed else old
        torch.testing.assert_close(parameter.detach(), wanted)


def test_settings_reach_the_optimizer():
    optimizer = create_optimizer(small_model(), "SGD", lr=0.01, momentum=0.9, weight_decay=0.0)
    apply_settings(optimizer, make_schedule().at(0, 0))
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.0, 0.0]
    assert {group["momentum"] for group in optimizer.param_groups} == {0.8}


def test_unknown_optimizer():
    with pytest.raises(ValueError, match="--optimizer Lion: expected one of SGD, Adam, AdamW"):
        create_optimizer(small_model(), "Lion", lr=0.1, momentum=0.9, weight_decay=0.0)


def test_average_equals_the_formula():
    model = small_model()
    ema = ModelEMA(model, updates=5)
    wanted = {name: value.clone().double() for name, value in model.state_dict().items()}
    for update in range(6, 10):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
            model[1].running_mean += 1
            model[1].num_batches_tracked += 1
        ema.update()
        weight = 0.9999 * (1 - math.exp(-update / 2000))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                wanted[name] = weight * wanted[name] + (1 - weight) * value.double()
    assert ema.updates == 9
    for name, value in ema.model.state_dict().items():
        torch.testing.assert_close(value.double(), wanted[name].double(), rtol=1e-5, atol=1e-6)
    assert ema.model[1].num_batches_tracked == 0
    assert not ema.model.training
    assert not any(p.requires_grad for p in ema.model.parameters())


def test_average_is_a_copy():
    model = small_model()
    ema = ModelEMA(model)
    with torch.no_grad():
        model[0].weight.zero_()
    assert ema.model[0].weight.abs().sum() > 0
