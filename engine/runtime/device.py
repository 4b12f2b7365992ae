"""Which device, and in which arithmetic: `--device` and `--precision` as YOLOv5 users write them."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.runtime.console import note

_ASKED_FOR = {"32": (torch.float32, "fp32"), "bf16": (torch.bfloat16, "bf16"), "16": (torch.float16, "fp16")}


@dataclass(frozen=True)
class Precision:
    """The arithmetic of a run.

    Attributes:
        dtype: The autocast type of convolutions and matrix products; float32 means no autocast.
        channels_last: Whether maps and convolution weights are kept in NHWC order.
        reason: A sentence for the log.
    """

    dtype: torch.dtype
    channels_last: bool
    reason: str

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format that goes with `channels_last`."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        """A context in which convolutions and matrix products run in `dtype`; no context in float32."""
        if self.dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(device.type, dtype=self.dtype)


def select_device(text: str = "") -> torch.device:
    """The device for `--device`: `""` (a GPU if there is one), `cpu`, `mps`, `0`, `cuda:0`.

    Raises:
        ValueError: If the device does not exist here, or several are named (one process drives one device).
    """
    name = text.strip().lower().removeprefix("cuda:")
    if name in ("", "auto"):
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError("--device mps: this machine has no Apple GPU; use --device cpu")
        return torch.device("mps")
    if "," in name:
        raise ValueError(f"--device {text}: expected one device for this process but got several; use --device 0")
    if not (name.isascii() and name.isdigit()):
        raise ValueError(f"--device {text}: expected cpu, mps or a GPU number such as 0")
    count = torch.cuda.device_count()
    if int(name) >= count:
        have = f"the GPUs here are 0 to {count - 1}" if count else "no CUDA GPU is visible here; use --device cpu"
        raise ValueError(f"--device {text}: {have}")
    return torch.device(f"cuda:{name}")


def select_devices(text: str = "") -> list[torch.device]:
    """The devices for train.py's `--device`: one as in `select_device`, or several GPUs as in `0,1`.

    Raises:
        ValueError: If a device does not exist here or is named twice.
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) == 1:
        return [select_device(text)]
    devices = [select_device(word or "''") for word in words]
    if any(device.type != "cuda" for device in devices) or len(set(devices)) < len(devices):
        raise ValueError(f"--device {text}: expected the numbers of different GPUs, e.g. 0,1")
    return devices


def choose_precision(text: str, device: torch.device) -> Precision:
    """The arithmetic for `--precision auto|32|bf16|16` on a device.

    `auto` is bf16 with channels_last where the hardware multiplies bf16 matrices (CPUs with AMX or AVX512-BF16, GPUs
    from Ampere on), fp16 on older GPUs, fp32 with channels_last elsewhere. `16` on a CPU is fp32, with a line that says
    so, as in YOLOv5.

    Raises:
        ValueError: If the text is none of these.
    """
    if text == "auto":
        return _automatic(device)
    if text not in _ASKED_FOR:
        raise ValueError(f"--precision {text}: expected one of auto, {', '.join(_ASKED_FOR)}")
    if text == "16" and device.type == "cpu":
        note("--half (--precision 16): fp16 needs a GPU, so fp32 is used; --precision bf16 is faster on many CPUs")
        return Precision(torch.float32, True, "fp32: fp16 needs a GPU")
    dtype, name = _ASKED_FOR[text]
    return Precision(dtype, True, f"{name}: asked for")


def _automatic(device: torch.device) -> Precision:
    if device.type == "cuda":
        if torch.cuda.get_device_capability(device)[0] >= 8:
            return Precision(torch.bfloat16, True, "bf16: this GPU has bf16 tensor cores")
        return Precision(torch.float16, True, "fp16: this GPU has no bf16 tensor cores")
    if device.type == "cpu":
        feature = _cpu_bf16_feature()
        if feature:
            return Precision(torch.bfloat16, True, f"bf16: this CPU has {feature}")
        return Precision(torch.float32, True, "fp32: this CPU has neither AMX nor AVX512-BF16")
    return Precision(torch.float32, True, f"fp32: the default on {device.type}")


def _cpu_bf16_feature() -> str | None:
    """The name of the CPU's bf16 instructions, from the kernel's own list; None where unknown or absent."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore").split("\n\n", 1)[0].split()
    except OSError:
        return None
    for flag, name in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")):
        if flag in flags:
            return name
    return None


def seconds_when_done(device: torch.device) -> float:
    """The time of `perf_counter` when a device has finished what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
