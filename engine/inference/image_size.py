"""Sides of images as a network takes them: multiples of its stride."""

from engine.runtime.console import say


def whole_strides(side_px: int, stride_px: int) -> int:
    """The smallest multiple of the stride that is no less than the side."""
    return -(-side_px // stride_px) * stride_px


def training_px(wanted_px: int, stride_px: int) -> int:
    """The next multiple of the stride, at least two strides; says so if it is not the size asked for."""
    size_px = max(whole_strides(wanted_px, stride_px), 2 * stride_px)
    if size_px != wanted_px:
        say(f"--imgsz {wanted_px} is not a multiple of the stride {stride_px}: training at {size_px} px")
    return size_px
