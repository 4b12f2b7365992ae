"""benchmarks/attention/step_cost.py: whose turn it is, what is counted, and that a step is one of training."""

import numpy as np

from benchmarks.attention import step_cost as attention_step
from benchmarks.attention.step_cost import measure, table
from models import build_model


def test_steps_take_turns_and_the_first_round_does_not_count():
    calls = []
    seconds = measure([lambda: calls.append("none"), lambda: calls.append("SE")], rounds=2)
    assert calls == ["none", "SE"] * 3
    assert seconds.shape == (2, 2)
    assert (seconds > 0).all()


def test_ratios_are_of_the_same_round():
    seconds = np.array([[0.1, 0.2], [1.0, 1.0], [0.2, 0.1]])
    rows = table(["none", "SE"], seconds).splitlines()
    assert rows[2] == "| none | 200 (150 to 600) | 1.000 (1.000 to 1.000) |"
    assert rows[3] == "| SE | 200 (150 to 600) | 1.000 (0.750 to 1.500) |"


def test_a_step_gives_every_parameter_a_gradient_and_takes_it_away(monkeypatch):
    built, gradients = [], []

    def build(spec):
        built.append(build_model(spec))
        for parameter in built[0].parameters():
            parameter.register_post_accumulate_grad_hook(lambda p: gradients.append(float(p.grad.abs().sum())))
        return built[0]

    monkeypatch.setattr(attention_step, "build_model", build)
    attention_step.make_step("yolov5n.yaml", "SE@neck.P3", 64, 2, "paper")()
    names = [name for name, _ in built[0].named_parameters()]
    assert sum("fc" in name for name in names) == 2  # SE is there
    assert len(gradients) == len(names)
    assert np.isfinite(gradients).all()
    assert all(parameter.grad is None for parameter in built[0].parameters())
