"""Slow, plain building blocks for references beyond those in `reference.py`; none uses torch.nn."""

import torch


def channels(weight, bias, v):
    """A 1x1 convolution or a linear layer on axis 1 of v."""
    weight = weight.flatten(1)
    bias = 0 if bias is None else bias.view(-1, *[1] * (v.dim() - 2))
    return torch.einsum("oc,bc...->bo...", weight, v) + bias


def depthwise(x, weight, bias, dilation=1):
    """Depthwise convolution of any odd kernel, tap by tap, zeros outside the map."""
    return grouped(x, weight, bias, x.shape[1], dilation)


def grouped(x, weight, bias, groups=1, dilation=1):
    """Convolution with groups, rectangular odd kernels and dilation, tap by tap, zeros outside the map."""
    batch, _, height, width = x.shape
    rows, columns = weight.shape[2:]
    up, left = dilation * (rows // 2), dilation * (columns // 2)
    padded = x.new_zeros(batch, x.shape[1], height + 2 * up, width + 2 * left)
    padded[:, :, up : up + height, left : left + width] = x
    padded = padded.unflatten(1, (groups, -1))
    filters = weight.unflatten(0, (groups, -1))
    output = 0
    for i in range(rows):
        for j in range(columns):
            window = padded[..., i * dilation : i * dilation + height, j * dilation : j * dilation + width]
            output = output + torch.einsum("goc,bgchw->bgohw", filters[..., i, j], window)
    output = output.flatten(1, 2)
    return output if bias is None else output + bias.view(1, -1, 1, 1)


def normalise(v, dims, eps):
    """Zero mean, unit variance (biased) over dims."""
    v = v - v.mean(dims, keepdim=True)
    return v / ((v**2).mean(dims, keepdim=True) + eps) ** 0.5


def silu(v):
    """v times its sigmoid."""
    return v / (1 + torch.exp(-v))


def gelu(v):
    """v times the normal distribution function."""
    return v * (1 + torch.erf(v / 2**0.5)) / 2


def positions(x):
    """(B, C, H, W) -> (B, HW, C), row by row."""
    return torch.stack([x[:, :, i, j] for i in range(x.shape[2]) for j in range(x.shape[3])], 1)


def count(module):
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())
