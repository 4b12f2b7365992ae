"""Batch normalisation with exact statistics for maps in channels_last order on the CPU.

Torch's kernel adds up one value after another there, over every image and position: on (16, 16, 160, 160) its variance
is 1.5e-4 off in float32, and through the sixty layers of an untrained YOLOv5n that turns a quarter of the gradient of
the first convolution into noise. Sums over fewer rows, joined afterwards, are exact to 2e-7 and take less time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from models.blocks.tensor_traits import is_channels_last, is_traced

MANY = 2**15  # values per channel; below, torch's statistics are exact to 1e-5, and one kernel takes less time
WIDEST = 2048  # columns of the matrix whose columns are summed: what stays in the first cache


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d`, whose training statistics on large CPU channels_last maps are exact."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        if not self.training or not _is_served(self, x):
            return super().forward(x)
        assert self.num_batches_tracked is not None  # it tracks
        self.num_batches_tracked.add_(1)
        return _BatchNorm.apply(x, self.weight, self.bias, self.running_mean, self.running_var, self.momentum, self.eps)


def batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of a channels_last map (B, C, H, W), in float32 or better.

    The map is read as a matrix of B*H*W / groups rows and groups*C columns, so that each sum runs over few values; the
    groups are joined by the law of total variance.
    """
    channels = x.shape[1]
    rows = x.numel() // channels
    groups = next(g for g in range(max(1, WIDEST // channels), 0, -1) if rows % g == 0)
    rows //= groups
    matrix = x.permute(0, 2, 3, 1).reshape(rows, 1, 1, groups * channels).permute(0, 3, 1, 2)
    wide = torch.float32 if x.dtype is torch.bfloat16 else x.dtype
    # With a momentum of 1 the running statistics become those of the batch; they come in full precision for bf16 too.
    means, variances = torch.zeros(2, groups * channels, dtype=wide)
    torch.batch_norm_update_stats(matrix, means, variances, 1.0)
    between, mean = torch.var_mean(means.view(groups, channels), 0, correction=0)
    within = variances.view(groups, channels).mean(0)
    return mean, torch.add(between, within, alpha=(rows - 1) / rows)


def _is_served(norm: nn.BatchNorm2d, x: Tensor) -> bool:
    """Whether the map is large and nothing stands against the exact form."""
    return (
        x.device.type == "cpu"
        and x.numel() >= MANY * x.shape[1]
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and is_channels_last(x)
        and not is_traced()
    )


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
    ) -> Tensor:
        mean, variance = batch_statistics(x)
        count = x.numel() // x.shape[1]
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.mul_(1 - momentum).add_(variance, alpha=momentum * count / (count - 1))
        ctx.eps = eps
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(variance + eps))
        return nn.functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight, mean, inverse_deviation = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        wanted = list(ctx.needs_input_grad[:3])
        gradients = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, inverse_deviation, True, ctx.eps, wanted
        )
        return (*gradients, None, None, None, None)


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes; every process's loss depends on it, so its gradient is summed too."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total


class JointBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over the batches of all processes, for devices that `nn.SyncBatchNorm` does not serve.

    The statistics of the processes are joined by the law of total variance, so that nothing is lost by cancellation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, ...)."""
        if not self.training:
            return super().forward(x)
        wide = x.float()
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        variance, mean = torch.var_mean(wide, axes, correction=0)
        count = x.numel() // x.shape[1]
        total = _SumOverProcesses.apply(torch.cat((mean.double() * count, mean.new_tensor([count]).double())))
        number = total[-1].detach()
        joint_mean = (total[:-1] / number).float()
        within_and_between = (variance + (mean - joint_mean).square()) * (count / number).float()
        joint_variance = _SumOverProcesses.apply(within_and_between)
        self._track(joint_mean.detach(), joint_variance.detach() * (number / (number - 1)).float())
        result = (wide - joint_mean.view(shape)) * torch.rsqrt(joint_variance + self.eps).view(shape)
        if self.affine:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        return result.to(x.dtype)

    def _check_input_dim(self, x: Tensor) -> None:
        """Any number of dimensions from two on is taken."""

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Take a batch's statistics into the running ones."""
        assert self.num_batches_tracked is not None  # it tracks
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)


def join_batch_norms(model: nn.Module) -> None:
    """Let every batch normalisation of a model in training count the batches of all processes, in place."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.__class__ = JointBatchNorm  # tensors, names and references to it stay
