import pytest
import torch

from models.attention import SimAM, simam
from tests.support.pieces import count
from tests.support.reference import SHAPES, check, run, sigmoid


def reference_with(e_lambda, factor=1):
    def reference(x, p, training):
        rows = []
        for b in range(x.shape[0]):
            for c in range(x.shape[1]):
                plane = x[b, c].flatten()
                square = (plane - sum(plane) / len(plane)) ** 2
                variance = sum(square) / max(len(plane) - 1, 1)
                energy = square / (4 * (variance + e_lambda)) + 0.5
                rows.append(factor * plane * sigmoid(p["strength"] * factor * energy))
        return torch.stack(rows).view(x.shape)

    return reference


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 5, 7, 7), (1, 7, 13, 21), (2, 2, 1, 6)])
def test_reference(shape):
    module = SimAM(shape[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.support.reference.randomise", lambda m, seed: m)  # the constant 1 stays 1
        check(module, reference_with(1e-4), shape, tolerances=(1e-6, 1e-5))
        check(SimAM(shape[1], e_lambda=0.1), reference_with(0.1), shape, tolerances=(1e-6, 1e-5))


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_reference_of_a_trained_identity_start(shape):
    # 1 + tanh(t e) is twice the sigmoid of 2 t e.
    small = (shape[0], 4, *shape[2:])
    check(SimAM(4, start="identity"), reference_with(1e-4, factor=2), small, tolerances=(1e-6, 3e-5))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("factor", [1, 2])
def test_blocks_make_no_difference(factor, memory_format, monkeypatch):
    monkeypatch.setattr(simam, "BLOCK", 50)  # two of seven channels
    module = SimAM(7, start="identity" if factor == 2 else "paper").double()
    strength = module.strength.data.fill_(0.7 if factor == 2 else 1.0).requires_grad_()
    x = torch.randn(2, 7, 5, 4, dtype=torch.float64)
    output, gradients = run(lambda x: module(x.contiguous(memory_format=memory_format)), x, module.parameters())
    expected, wanted = run(lambda x: reference_with(1e-4, factor)(x, {"strength": strength}, True), x, [strength])
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(gradients, wanted[: len(gradients)])


def test_one_position_is_finite_where_the_release_divides_by_zero():
    x = torch.randn(2, 3, 1, 1)
    torch.testing.assert_close(SimAM(3)(x), x * torch.tensor(0.5).sigmoid())


def test_nothing_to_learn_as_published():
    assert count(SimAM(512)) == 0
    assert count(SimAM(512, start="identity")) == 1


def test_checkpoints_of_the_release_hold_nothing_and_load():
    assert SimAM(8).load_state_dict({}).missing_keys == []
    with pytest.raises(RuntimeError, match="strength"):
        SimAM(8, start="identity").load_state_dict({})


def test_the_variance_needs_something_added():
    with pytest.raises(ValueError, match=r"Expected `e_lambda` to be a number above 0.0 but got 0"):
        SimAM(8, e_lambda=0)
