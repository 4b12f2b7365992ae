"""Whether a module that was asked to start as the identity is one: it is run, not believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from models.attention import canonical_name, create_attention
from models.attention.parts.registry import attention_class
from models.spec.model_spec import flow

_SIZE = (7, 6)  # of the map, in cells
_PROBLEMS: dict[tuple[object, str], str] = {}  # by class and options, "" where there is none: asked once in a process


def check_identity(name: str, channels: int, options: Mapping[str, Any]) -> None:
    """Run a module with `start="identity"` on a small random map; once in a process for a class and its options.

    The random numbers that follow are those that would have followed without it.

    Raises:
        ValueError: If what comes out is not, bit for bit, what went in.
    """
    if options.get("start") != "identity":
        return
    key = attention_class(canonical_name(name)), flow(dict(options))
    if key not in _PROBLEMS:
        _PROBLEMS[key] = _problem(name, channels, options)
    if _PROBLEMS[key]:
        raise ValueError(
            f"{name} with the options {key[1]} does not start as the identity: {_PROBLEMS[key]}; let its class heed "
            "`start`, or insert it with start='paper'"
        )


def _problem(name: str, channels: int, options: Mapping[str, Any]) -> str:
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # pyright: ignore[reportUnknownMemberType]  (torch gives it no types)
        torch.manual_seed(0)  # pyright: ignore[reportUnknownMemberType]  (torch gives it no types)
        image = torch.randn(1, channels, *_SIZE)
        result = create_attention(name, channels, **options).eval()(image)
    if result.shape != image.shape:
        return f"a map of {list(image.shape)} becomes {list(result.shape)}"
    if torch.equal(result, image):
        return ""
    return f"a random map of {list(image.shape)} changes by up to {(result - image).abs().max():.3g}"
