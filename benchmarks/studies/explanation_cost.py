"""What a heat map costs: time of one in forward passes, and memory of fifty at 1280 px.

python -m benchmarks.studies.explanation_cost --weights weights/yolov5n.pt
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Sequence

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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    corners = torch.rand(50, 2) * 1000
    boxes = torch.cat((corners, corners + 20 + torch.rand(50, 2) * 200), 1)
    spent = seconds(lambda: layer_cams(model, torch.rand(1, model.channels, 1280, 1280), boxes, torch.zeros(50).long()))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"fifty at 1280 px: {grown:.0f} MiB more at the peak, {spent:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
