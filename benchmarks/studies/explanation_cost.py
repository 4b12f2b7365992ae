"""What a heat map costs: time of one in forward passes, and memory of fifty at 1280 px.

python -m benchmarks.studies.explanation_cost --weights weights/yolov5n.pt
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

import torch

from engine.config.parser import run_cli
from engine.explanation.layer_cam import layer_cams
from models import load_model

ROUNDS = 7


def seconds(action: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def fifty(weights: str) -> tuple[float, float, float]:
    """Heat maps of 50 boxes at 1280 px: the process' peak memory before and after in MiB, and seconds."""
    model = load_model(weights, torch.device("cpu")).eval()
    images = torch.rand(1, model.channels, 1280, 1280)
    corners = torch.rand(50, 2) * 1000
    boxes = torch.cat((corners, corners + 20 + torch.rand(50, 2) * 200), 1)
    before = _peak_mib()
    spent = seconds(lambda: layer_cams(model, images, boxes, torch.zeros(50).long()))
    return before, _peak_mib(), spent


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: Sequence[str] | None = None) -> int:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="weights/yolov5n.pt")
    options = parser.parse_args(argv)
    model = load_model(options.weights, torch.device("cpu")).eval()
    images = torch.rand(1, model.channels, 640, 640)
    box, class_id = torch.tensor([[200.0, 200, 300, 320]]), torch.tensor([0])

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return model(images)

    def heat() -> torch.Tensor:
        return layer_cams(model, images, box, class_id)

    ratios = []
    for round_ in range(ROUNDS + 1):
        plain, explained = seconds(forward), seconds(heat)
        if round_:  # the first is a warm-up
            ratios.append(explained / plain)
    low, high = min(ratios), max(ratios)
    print(f"one heat map at 640 px: {statistics.median(ratios):.2f} ({low:.2f}-{high:.2f}) forward passes, in turn")
    # In a process of its own: the peak of this one is that of the forward passes above, and never falls.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        before, peak, spent = fresh.submit(fifty, options.weights).result()
    print(f"fifty at 1280 px: {peak:.0f} MiB at the peak, {before:.0f} MiB of them before; {spent:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
