"""What every attention module shares: the start, the report of its gate, and safe batch_norm.

A module is `Name(channels, *, option=default, start="paper")` and maps (B, C, H, W) to (B, C, H, W).
"""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.autograd import function

from models.blocks import batch_norm

STARTS = ("paper", "identity")
OUT_CHANNELS = "out_channels"

Gate = Tensor | Callable[[], Tensor]
Context = Any  # of an autograd function: takes attributes
_Backward = TypeVar("_Backward", bound=Callable[..., Any])


class Attention(nn.Module):
    """Base of every attention module.

    Class attributes:
        PAPER: Where the mechanism was published.
        YEAR: Year of that publication.
        GATES: The kinds of gate that the module reports.
        TOGETHER: How its gates act on the map: "product" of all, or their "sum" or "mean" multiplies it.
        POSITIONAL: Names of the options in the order in which rows of existing forks pass them after the channels.
            `OUT_CHANNELS` in it stands for a second channel count, equal to the first, which is not an option.
        INERT: Parameters without any effect on the output (their gradient is zero), kept so that weights of the
            widely used release load.

    Args:
        channels: Number of channels C of the map, at least 1.
        start: "paper" as published; "identity" makes the module return its input exactly until it is trained.

    Raises:
        ValueError: `channels` is not a positive integer, or `start` is unknown.
    """

    PAPER: ClassVar[str]
    YEAR: ClassVar[int]
    GATES: ClassVar[tuple[str, ...]]
    TOGETHER: ClassVar[str] = "product"
    POSITIONAL: ClassVar[tuple[str, ...]] = ()
    INERT: ClassVar[tuple[str, ...]] = ()

    def __init__(self, channels: int, *, start: str = "paper") -> None:
        super().__init__()
        check_integer("channels", channels)
        check_choice("start", start, STARTS)
        self.channels = channels
        self.start = start
        self._query: tuple[float, float] = (0.5, 0.5)
        self._gates: dict[str, Tensor] | None = None

    @property
    def identity(self) -> bool:
        """Whether the module was built to start as the identity."""
        return self.start == "identity"

    def extra_repr(self) -> str:
        """Channels and start, as printed by `print(model)`."""
        return f"{self.channels}, start={self.start!r}"

    def _report(self, **gates: Gate) -> None:
        """Hand out the gates just applied, if somebody collects them (see `models.attention.parts.gates`).

        A gate that the forward pass does not hold in this shape is given as a function, called only on demand.

        Args:
            gates: By kind: channel (B, C, 1, 1), spatial (B, 1, H, W), row (B, C, H, 1), column (B, C, 1, W),
                full (B, C, H, W), or affinity (B, 1, H, W): the weights that the position `self._query` gives to
                every position.
        """
        if self._gates is None:
            return
        for kind, gate in gates.items():
            with torch.no_grad():
                value = gate() if callable(gate) else gate
            self._gates[kind] = value.detach()

    def _query_position(self, height: int, width: int) -> tuple[int, int]:
        """Row and column of the query position on a map of this size."""
        row, column = self._query
        return min(int(row * height), height - 1), min(int(column * width), width - 1)


class BatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation that falls back to its running statistics when a training batch has fewer than two values.

    One value has no variance, so torch raises there; the fallback keeps a single 1x1 map trainable.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C) or (B, C, L)."""
        single = self.training and _is_single(input)
        return _by_running_statistics(self, input) if single else super().forward(input)


class BatchNorm2d(batch_norm.BatchNorm2d):
    """As `BatchNorm1d`, for (B, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        return _by_running_statistics(self, x) if self.training and _is_single(x) else super().forward(x)


def _is_single(x: Tensor) -> bool:
    return x.numel() // x.shape[1] <= 1


def _by_running_statistics(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    return nn.functional.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def once_differentiable(backward: _Backward) -> _Backward:
    """Torch's decorator of the same name, with the type kept."""
    return cast(_Backward, function.once_differentiable(backward))


def hidden_width(channels: int, reduction: int) -> int:
    """Width of a bottleneck: channels // reduction, at least 1.

    Raises:
        ValueError: `reduction` is not a positive integer.
    """
    check_integer("reduction", reduction)
    return max(1, channels // reduction)


def zero(*layers: nn.Module) -> None:
    """Set weight and bias (where there is one) of each layer to zero."""
    for layer in layers:
        for parameter in layer.parameters(recurse=False):
            nn.init.zeros_(parameter)


def float32(x: Tensor) -> Tensor:
    """Copy of x in float32 where x has less precision, x itself otherwise."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def at_least(value: int, least: int) -> int:
    """max(value, least) of a size; a size that a tracer hands out as a tensor stays traced."""
    return value.clamp(min=least) if isinstance(value, Tensor) else max(value, least)  # pyright: ignore


def check_integer(name: str, value: int, *, least: int = 1) -> None:
    """Raise ValueError unless value is an integer and not below `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"Expected `{name}` to be an integer of at least {least} but got {value!r}")


def check_odd(name: str, value: int) -> None:
    """Raise ValueError unless value is a positive odd integer."""
    check_integer(name, value)
    if value % 2 == 0:
        raise ValueError(f"Expected `{name}` to be odd but got {value}; try {value - 1} or {value + 1}")


def check_flag(name: str, value: bool) -> None:
    """Raise ValueError unless value is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"Expected `{name}` to be true or false but got {value!r}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless value is one of choices."""
    if value not in choices:
        raise ValueError(f"Expected `{name}` to be one of {', '.join(map(repr, choices))} but got {value!r}")


def check_divisible(channels: int, divisor: int, what: str) -> None:
    """Raise ValueError, naming the nearest channel count that works, unless divisor divides channels.

    Args:
        channels: The channel count to check.
        divisor: What must divide it.
        what: The options behind the divisor, for the message, such as "2 * groups".
    """
    if channels % divisor:
        nearest = max(divisor, divisor * round(channels / divisor))
        raise ValueError(
            f"Expected `channels` to be a multiple of {what} = {divisor} but got {channels}; "
            f"the nearest that works is {nearest}"
        )


def nearest_channels(channels: int, works: Callable[[int], bool]) -> int:
    """The channel count nearest to `channels` (the smaller of two) for which works(count) is true.

    Args:
        channels: Where the search begins.
        works: True for some count of at least 1.
    """
    distance = 0
    while True:
        for count in (channels - distance, channels + distance):
            if count >= 1 and works(count):
                return count
        distance += 1
