"""Where and with what a run was measured: the hardware, the versions and the commit, for the report's last lines."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from files.cores import usable_cores
from files.find import ROOT

_PACKAGES = ("torch", "lightning", "numpy")


def describe_machine(device: torch.device) -> dict[str, str]:
    """Plain texts under `hardware`, `versions` and `commit`; a commit only in a clone with git."""
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return {
        "hardware": _hardware(device),
        "versions": f"Python {platform.python_version()}, {versions}, {platform.system()}",
        "commit": _commit(),
    }


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="ignore").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {usable_cores()} cores"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--match="]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
