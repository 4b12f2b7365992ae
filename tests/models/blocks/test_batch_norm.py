"""Batch normalisation against torch's own in float64."""

import pytest
import torch
from torch import Tensor, nn

from models.blocks.batch_norm import BatchNorm2d, batch_statistics

SHAPES = [(16, 16, 80, 80), (2, 255, 129, 128), (1, 7, 181, 183), (33, 3, 32, 32)]  # of 2**15 positions and more
TOLERANCE = {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 4e-3}


def relative(a: Tensor, b: Tensor) -> float:
    return ((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-9)).item()


def example(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return (torch.randn(shape) * 2 + 1.5).to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_torch_in_float64(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    norm = BatchNorm2d(shape[1], eps=1e-3, momentum=0.03).to(torch.promote_types(dtype, torch.float32))
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.uniform_(norm.bias, -1, 1)
    reference = nn.BatchNorm2d(shape[1], eps=1e-3, momentum=0.03).double()
    reference.load_state_dict(norm.state_dict())
    x, gradient = example(shape, dtype).requires_grad_(), torch.randn(shape).to(dtype)
    y = norm(x)
    assert type(y.grad_fn).__name__ == "_BatchNormBackward"
    assert y.dtype is dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    y.backward(gradient)
    exact = x.detach().double().contiguous().requires_grad_()
    expected = reference(exact)
    expected.backward(gradient.double())
    assert relative(y, expected) < TOLERANCE[dtype]
    assert relative(x.grad, exact.grad) < TOLERANCE[dtype]
    for mine, theirs in zip(norm.parameters(), reference.parameters(), strict=True):
        assert relative(mine.grad, theirs.grad) < (1e-12 if dtype is torch.float64 else 3e-5)
    for mine, theirs in zip(norm.buffers(), reference.buffers(), strict=True):
        assert relative(mine, theirs) < (1e-13 if dtype is torch.float64 else 1e-6)


def test_statistics_are_exact_where_torch_adds_naively() -> None:
    x = example((16, 16, 160, 160), torch.float32)
    variance = x.double().var((0, 2, 3), unbiased=False)
    _, mine = batch_statistics(x)
    assert ((mine - variance) / variance).abs().max() < 1e-6


def test_eval_mode_other_layouts_and_small_maps_are_torchs() -> None:
    norm, plain = BatchNorm2d(8), nn.BatchNorm2d(8)
    large = torch.randn(8, 8, 64, 64)
    for x in (large, example((2, 8, 6, 6), torch.float32)):
        assert torch.equal(norm(x), plain(x))
        assert torch.equal(norm.running_var, plain.running_var)
    x = large.contiguous(memory_format=torch.channels_last)
    assert torch.equal(norm.eval()(x), plain.eval()(x))


def test_a_single_value_per_channel_is_refused_as_by_torch() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        BatchNorm2d(8)(torch.randn(1, 8, 1, 1).contiguous(memory_format=torch.channels_last))
