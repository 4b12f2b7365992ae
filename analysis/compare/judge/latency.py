"""Latency of the compared models, timed in turn: `python -m analysis.compare.judge.latency COMPARISON_FOLDER`.

Times taken at different moments differ more than attention does, so all configurations are timed in one go, one image
after the other through every model, round after round. One image, fused, fp32 or the precision asked for, without
suppression. Written to `latency.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from analysis.compare.execute.run_folder import FINISHED, RunFolder, folders
from engine.config.parser import add_module_flag, run_cli
from engine.runtime.device import choose_precision, seconds_when_done, select_device
from models.model_yaml import load_spec
from models.user_modules import load_modules
from models.yolo import build_model

ROUNDS = 21


def needed(comparison: Path) -> dict[str, RunFolder]:
    """A finished run of each configuration."""
    return {folder.plan.config: folder for folder in reversed(folders(comparison)) if folder.state == FINISHED}


def known(comparison: Path) -> dict[str, Any]:
    """The times that were written, from configuration to milliseconds; empty if there are none that can be read."""
    file = comparison / "latency.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))["configurations"] if file.is_file() else {}
    except (ValueError, KeyError):  # half written: measured again
        return {}


def measure_latency(comparison: Path, rounds: int = ROUNDS) -> None:
    """Time every configuration that has a finished run and write `latency.json`.

    Raises:
        ValueError: If a model's file is missing or wrong.
    """
    chosen = needed(comparison)
    models = {config: _ready(folder) for config, folder in chosen.items()}
    times: dict[str, list[float]] = {config: [] for config in models}
    for number in range(rounds + 1):
        for config, run in models.items():
            began = time.perf_counter()
            run()
            if number:  # the first round warms up
                times[config].append((time.perf_counter() - began) * 1e3)
    quartiles = {config: statistics.quantiles(values, n=4) for config, values in times.items()}
    data: Mapping[str, Any] = {
        "what": "milliseconds of one image through the fused network, fp32 unless precision says otherwise: quartiles",
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "configurations": {config: {"low": q[0], "ms": q[1], "high": q[2]} for config, q in quartiles.items()},
    }
    (comparison / "latency.json").write_text(json.dumps(data, indent=1), encoding="utf-8")


def _ready(folder: RunFolder) -> Callable[[], None]:
    """One forward pass of a run's model; its weights do not matter."""
    train = folder.plan.train
    device = select_device(train["device"])
    precision = choose_precision("32" if train["precision"] == "auto" else train["precision"], device)
    spec = load_spec(folder.path / "model.yaml", run_modules=False)  # it may be from another machine
    model = build_model(spec).eval().fuse().to(device).to(memory_format=precision.memory_format)
    size_px = -(-train["imgsz"] // 32) * 32
    image = torch.rand(1, spec.channels, size_px, size_px, generator=torch.Generator().manual_seed(0))
    image = image.to(device).contiguous(memory_format=precision.memory_format)

    def run() -> None:
        with torch.inference_mode(), precision.autocast(device):
            model(image)
        seconds_when_done(device)

    return run


def main(argv: Sequence[str] | None = None) -> int:
    """Time the configurations of the comparison named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m analysis.compare.judge.latency", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="a comparison's folder")
    add_module_flag(parser)
    options = parser.parse_args(argv)
    load_modules(options.module)
    measure_latency(options.folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
