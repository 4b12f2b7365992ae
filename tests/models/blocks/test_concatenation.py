"""`concatenate` is torch.cat along the channels, with gradients that are stored densely."""

import pytest
import torch

from models.blocks.concatenation import concatenate


def maps(*channels, dtype=torch.float64, memory_format=torch.contiguous_format):
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, c, 5, 3, generator=generator).to(dtype) for c in channels]
    return [part.contiguous(memory_format=memory_format).requires_grad_() for part in parts]


def test_it_is_cat():
    parts = maps(3, 1, 4)
    torch.testing.assert_close(concatenate(parts), torch.cat(parts, 1), rtol=0, atol=0)
    assert torch.autograd.gradcheck(lambda *xs: concatenate(xs), parts)
    assert torch.autograd.gradgradcheck(lambda *xs: concatenate(xs).square(), parts)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_cats_and_in_channels_last_dense(memory_format):
    seen = {}
    weight = torch.randn(2, 20, 5, 3, dtype=torch.float64).contiguous(memory_format=memory_format)
    for name, function in (("cat", lambda parts: torch.cat(parts, 1)), ("ours", concatenate)):
        parts = maps(16, 4, memory_format=memory_format)
        arrived = seen[name] = []
        for part in parts:
            part.register_hook(arrived.append)
        (function(parts) * weight).sum().backward()
    for theirs, ours in zip(seen["cat"], seen["ours"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        if memory_format is torch.channels_last:
            assert ours.is_contiguous(memory_format=memory_format)
            assert not theirs.is_contiguous(memory_format=memory_format)  # or `concatenate` has lost its reason


def test_maps_of_several_types_get_gradients_of_their_own():
    parts = [*maps(2, dtype=torch.bfloat16), *maps(3, dtype=torch.float32)]
    result = concatenate(parts)
    assert result.dtype is torch.float32
    result.sum().backward()
    assert [part.grad.dtype for part in parts] == [torch.bfloat16, torch.float32]


def test_a_map_without_gradient_may_be_among_them():
    first, second = maps(2, 3)
    concatenate([first.detach(), second]).sum().backward()
    torch.testing.assert_close(second.grad, torch.ones_like(second))
