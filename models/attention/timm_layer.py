"""Timm: any attention layer of timm that keeps the map's shape, as a row of a model.

timm is an optional extra, imported when a module is built; its layers, their papers and their options are its own.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.attention.parts.base import Attention
from models.attention.parts.registry import register
from models.attention.parts.tensors import add_strength, like_format

LAYERS = (
    *("se", "ese", "eca", "ecam", "ceca", "ge", "gc", "gca", "cbam", "lcbam", "coord", "scoord", "ela", "strip"),
    *("sk", "splat", "lambda", "bottleneck", "halo", "nl", "bat"),
)
"""Names that timm's `create_attn` knows; a test compares them with the installed timm."""


@register("Timm")
class Timm(Attention):
    """The named timm layer, e.g. `Timm(64, layer="eca")`, in a YAML `[-1, 1, Timm, [eca, {kernel_size: 5}]]`.

    It reports what it multiplied the map with as one gate, if that is all that the layer does: se, ese, eca, ecam,
    ceca, ge, gc, cbam, coord, scoord, ela and strip. The others add or mix positions, and report none.

    Identity start: x + t (layer(x) - x), with one learned number t, `strength`, that starts at 0. A layer about which
    nothing is known cannot be made the identity from inside, so this is one more pass over the map. t learns from the
    first step, the layer from the second; for a layer that starts as the identity by itself t starts at 1. With paper
    start t is a constant 1 in the state dict, and unused.

    Args:
        channels: Number of channels C.
        layer: A name of timm's `create_attn`: se, ese, eca, ceca, ge, gc, gca, cbam, lcbam, coord, scoord, ela, strip,
            sk, splat, nl, bat and others.
        start: "paper" or "identity".
        options: Passed to the timm layer.

    Raises:
        ValueError: timm is not installed, does not know the layer or an option, or the layer changes the map's shape.
    """

    PAPER = "Wightman, PyTorch Image Models, https://github.com/huggingface/pytorch-image-models"
    YEAR = 2019
    GATES = ("channel", "spatial", "full")
    POSITIONAL = ("layer",)
    strength: Tensor

    def __init__(self, channels: int, *, layer: str = "eca", start: str = "paper", **options: Any) -> None:  # noqa: ANN401
        super().__init__(channels, start=start)
        self.name = layer
        self.layer = _build(layer, channels, options)
        add_strength(self)
        if _probe(self.layer, layer, channels) and self.identity:
            nn.init.ones_(self.strength)

    def extra_repr(self) -> str:
        """Channels, layer and start, as printed by `print(model)`."""
        return f"{self.channels}, layer={self.name!r}, start={self.start!r}"

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to a map (B, C, H, W)."""
        if x.shape[0] == 0:
            return x
        if self._gates is None:
            y = self._applied(x)
        else:
            with self._collected() as gates:
                y = self._applied(x)
            self._report_product(gates, x, y)
        if self.identity:
            y = torch.lerp(x, y.to(x.dtype), self.strength.to(x.dtype))
        return like_format(y.to(x.dtype), x)

    def _applied(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            self.layer.eval()  # one value has no variance: normalisations take their running statistics
            y = self.layer(x)
            self.layer.train()
            return y
        return self.layer(x)

    @contextmanager
    def _collected(self) -> Iterator[list[Tensor]]:
        """What the activations that timm calls `gate` gave in the pass made inside the block."""
        gates: list[Tensor] = []
        with ExitStack() as stack:
            for module in self.layer.modules():
                gate = getattr(module, "gate", None)
                if isinstance(gate, nn.Module):
                    hook = gate.register_forward_hook(lambda _, __, output: gates.append(output.detach()))
                    stack.callback(hook.remove)
            yield gates

    @torch.no_grad()
    def _report_product(self, gates: Sequence[Tensor], x: Tensor, y: Tensor) -> None:
        """Report the product of the gates, unless the layer does more than multiply by it."""
        maps = [one.reshape(len(x), -1, 1, 1) if one.ndim == 3 else one for one in gates]
        product = math.prod(maps[1:], start=maps[0]) if maps else None
        if product is None or not torch.allclose((x * product).float(), y.float(), rtol=1e-2, atol=1e-4):
            return
        if self.identity:
            product = 1 + self.strength * (product - 1)
        if product.shape[2:] == (1, 1):
            self._report(channel=product.expand(*x.shape[:2], 1, 1))
        elif product.shape[1] == 1 < x.shape[1]:
            self._report(spatial=product)
        else:
            self._report(full=product.expand_as(x))


def _build(layer: str, channels: int, options: dict[str, Any]) -> nn.Module:
    create_attn, factory = _import_timm()
    if layer not in LAYERS:
        near = get_close_matches(str(layer), LAYERS, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(LAYERS)}"
        raise ValueError(f"Expected `layer` to be a timm attention layer but got {layer!r}; {hint}")
    accepted = _accepted(factory(layer))
    unknown = sorted(set(options) - set(accepted))
    if "name" in unknown:
        raise ValueError(f"Timm's option for the timm layer is called `layer`: layer={options['name']!r}")
    if unknown:
        raise ValueError(
            f"Expected options of timm's {layer!r} but got {', '.join(map(repr, unknown))}; "
            f"it takes {', '.join(accepted)}"
        )
    try:
        module = create_attn(layer, channels, **options)
    except (AssertionError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"timm's {layer!r} cannot be built for {channels} channels with {options or 'no options'}: {error}"
        ) from error
    return module


def _import_timm() -> tuple[Callable[..., nn.Module], Callable[[str], Callable[..., nn.Module]]]:
    try:
        from timm.layers import create_attn, get_attn  # pyright: ignore[reportPrivateImportUsage]
    except ModuleNotFoundError as error:
        raise ValueError("Timm needs the package timm, which is not installed; run: pip install timm") from error
    return create_attn, get_attn  # pyright: ignore[reportReturnType]


def _accepted(factory: Callable[..., nn.Module]) -> list[str]:
    """Options of a timm layer; those that its short name stands for are fixed."""
    fixed = factory.keywords if isinstance(factory, partial) else {}
    cls = factory.func if isinstance(factory, partial) else factory
    parameters = list(inspect.signature(cls).parameters.values())[1:]  # without the channels
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in fixed]


@torch.no_grad()
def _probe(module: nn.Module, layer: str, channels: int) -> bool:
    """Whether the layer returns its input as it is.

    Raises:
        ValueError: It does not take a map, or changes its shape.
    """
    probe = torch.randn(1, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    training = module.training
    try:
        output = module.eval()(probe)
    except (AssertionError, RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"timm's {layer!r} does not take a map {tuple(probe.shape)}: {reason}") from error
    finally:
        module.train(training)
    if output.shape != probe.shape:
        raise ValueError(
            f"Expected timm's {layer!r} to keep the shape {tuple(probe.shape)} but it gives {tuple(output.shape)}; "
            "an attention row keeps channels and size"
        )
    return torch.equal(output, probe)
