"""Sides of images as a network takes them: multiples of its stride."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.runtime.console import note, say

if TYPE_CHECKING:
    from engine.inference.network import Network


def whole_strides(side_px: int, stride_px: int) -> int:
    """The smallest multiple of the stride that is no less than the side."""
    return -(-side_px // stride_px) * stride_px


def note_fixed_size(network: Network, weights: str) -> None:
    """Say where a file's size makes its figures differ from those of its .pt file, and what to do."""
    if network.image_hw is not None:
        size = "{}x{}".format(*network.image_hw)
        note(
            f"{weights} takes {size} px only, so images are padded to that and the figures differ from those of the "
            ".pt file, which pads as little as it can; for equal ones export with --dynamic"
        )


def training_px(wanted_px: int, stride_px: int) -> int:
    """The next multiple of the stride, at least two strides; says so if it is not the size asked for."""
    size_px = max(whole_strides(wanted_px, stride_px), 2 * stride_px)
    if size_px != wanted_px:
        say(f"--imgsz {wanted_px} is not a multiple of the stride {stride_px}: training at {size_px} px")
    return size_px
