"""Tensor helpers shared by attention modules: precision, memory format, gates of the map's own size, dot products."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention.parts import dense_attention


def check_number(name: str, value: float, *, above: float = 0.0, most: float = float("inf")) -> None:
    """Raise ValueError unless value is a number with above < value <= most."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not above < value <= most:
        limit = "" if most == float("inf") else f" and at most {most}"
        raise ValueError(f"Expected `{name}` to be a number above {above}{limit} but got {value!r}")


def outside_autocast(x: Tensor) -> AbstractContextManager:
    """Context in which autocast leaves operations on x's device at the precision of their operands."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def saturate(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert x; in float16, values beyond its range become its largest finite number instead of infinity."""
    if dtype == torch.float16 and x.dtype != torch.float16:
        limit = torch.finfo(dtype).max
        x = x.clamp(-limit, limit)
    return x.to(dtype)


def scale_map(x: Tensor, factor: Tensor, *, identity: bool) -> Tensor:
    """X * factor, or x * (1 + factor) for an identity start, in one pass and in the dtype of x.

    The factor is unbounded, so float16 products are taken in float32 and saturate.
    """
    if torch.float16 in (x.dtype, factor.dtype):
        wide, factor = x.float(), factor.float()
    else:
        wide, factor = x, factor.to(x.dtype)
    return saturate(torch.addcmul(wide, wide, factor) if identity else wide * factor, x.dtype)


def gate_map(x: Tensor, logits: Tensor, *, identity: bool) -> Tensor:
    """X * s(logits), s the sigmoid; for an identity start x * (1 + tanh(logits)), exactly x where logits are 0.

    Both take the same passes over the map; a rescaled sigmoid would need one more.
    """
    logits = logits.to(x.dtype)
    return torch.addcmul(x, x, logits.tanh()) if identity else x * logits.sigmoid()


def gate_values(logits: Tensor, *, identity: bool) -> Tensor:
    """The gate that `gate_map` applies, for reports."""
    return 1 + logits.tanh() if identity else logits.sigmoid()


def like_format(y: Tensor, x: Tensor) -> Tensor:
    """The values of y in the memory format of x: channels_last or contiguous."""
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return y.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def group_norm(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Apply norm; unlike its own forward, also to a single value per group, which becomes the bias."""
    return torch.group_norm(x, norm.num_groups, norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)


def pointwise(x: Tensor, layer: nn.Linear) -> Tensor:
    """Apply a linear layer to the channels of (B, C, H, W), as a 1x1 convolution that keeps the memory format."""
    return F.conv2d(x, layer.weight[..., None, None], layer.bias)


def split_heads(x: Tensor, heads: int, *, masked: bool = False) -> Tensor:
    """(B, C, H, W) -> (B, heads, H*W, C / heads), in the memory order in which `attend` is fast, masked or not.

    Blocks take any order, so nothing is copied. Fused kernels need it position by position; else an unfused one builds
    a matrix of H*W times H*W.
    """
    batch, channels, height, width = x.shape
    if not masked and dense_attention.prefers_blocks(x, channels // heads):
        return x.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)
    rows = x.permute(0, 2, 3, 1).contiguous()  # no copy for a channels_last map
    return rows.reshape(batch, height * width, heads, channels // heads).transpose(1, 2)


def from_tokens(x: Tensor, height: int, width: int) -> Tensor:
    """(B, heads, H*W, d) -> (B, heads * d, H, W), the inverse of `split_heads`."""
    batch, heads, _, depth = x.shape
    return x.transpose(1, 2).reshape(batch, height, width, heads * depth).permute(0, 3, 1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor, *, scale: float, mask: Tensor | None = None) -> Tensor:
    """Dot-product attention, (B, heads, N, d) each; float16 operands are taken in float32, where logits have room.

    Args:
        query: What asks, (B, heads, N, d).
        key: What is asked, (B, heads, M, d).
        value: What is averaged, (B, heads, M, d).
        scale: Factor of the logits.
        mask: Added to the logits, or boolean: true where a key may be attended to; broadcast to (B, heads, N, M).
    """
    with outside_autocast(query):
        if mask is None and query.shape == key.shape and dense_attention.prefers_blocks(value, value.shape[3]):
            return dense_attention.attend(query if scale == 1 else scale * query, key, value, wide_logits=False)
        if query.dtype == torch.float16:
            query, key, value = query.float(), key.float(), value.float()
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


def add_strength(module: nn.Module) -> None:
    """Give a module without suitable parameters of its own a factor `strength` for its logits.

    Paper start: the constant 1, a buffer, so that nothing is learned that was not published. Identity start: a
    parameter that starts at 0. The state-dict key is the same; checkpoints of other implementations, which lack it,
    load into a module with paper start.
    """
    if module.identity:
        module.strength = nn.Parameter(torch.zeros(1))
    else:
        module.register_buffer("strength", torch.ones(1))
        module.register_load_state_dict_pre_hook(_default_strength)


def _default_strength(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: object) -> None:
    state_dict.setdefault(f"{prefix}strength", module.strength)
