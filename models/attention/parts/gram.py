"""Products of the channels of a map with one another."""

import torch
from torch import Tensor

from models.attention.parts.base import Context, float32, once_differentiable
from models.blocks.tensor_traits import is_channels_last, is_traced

BLOCKS = 4


def gram(x: Tensor) -> Tensor:
    """X X^T of (B, C, H, W) over the positions: (B, C, C) in float32 at least."""
    if is_traced():
        rows = float32(x).flatten(2)
        return rows @ rows.transpose(1, 2)
    return _Gram.apply(x)


def mix_channels(matrix: Tensor, x: Tensor) -> Tensor:
    """A matrix (B, C, C) times the channels of x (B, C, H, W), in the dtype and memory format of x."""
    matrix = matrix.to(x.dtype)
    if is_channels_last(x) and not is_traced():
        mixed = (x.permute(0, 2, 3, 1).flatten(1, 2) @ matrix.transpose(1, 2)).transpose(1, 2)
    else:
        mixed = matrix @ x.flatten(2)
    return mixed.unflatten(2, x.shape[2:])


class _Gram(torch.autograd.Function):
    """On the CPU only a little over half of the symmetric product is computed, and mirrored."""

    @staticmethod
    def forward(ctx: Context, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        rows = x.flatten(2)
        if x.device.type != "cpu":
            return torch.bmm(float32(rows), float32(rows).transpose(1, 2))
        batch, channels, _ = rows.shape
        product = float32(rows[:0]).new_empty(batch, channels, channels)
        step = -(-channels // BLOCKS)
        blocks = [slice(start, start + step) for start in range(0, channels, step)]
        for image in range(batch):
            wide = float32(rows[image])
            for block in blocks:
                product[image, block, block.start :] = torch.mm(wide[block], wide[block.start :].t())
        for block in blocks[1:]:
            product[:, block, : block.start] = product[:, : block.start, block].transpose(1, 2)
        return product

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        (x,) = ctx.saved_tensors
        return mix_channels(gradient + gradient.transpose(1, 2), x)  # X takes part twice
