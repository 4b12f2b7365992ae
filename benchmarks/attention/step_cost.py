"""What inserted attention costs in a training step: models in one process, a step of each in turn, round after round.

    python -m benchmarks.attention.step_cost --attention CoordAtt ECA SE CBAM --cfg yolov5n.yaml --img 320 --batch 16

A step is forward pass, loss and backward pass on one batch of random images, in the precision that train.py chooses.
Whole runs (`benchmarks.against_yolov5.train --attention`) differ more from minute to minute on a shared machine than
modules cost; steps that take turns meet the same minutes. Printed: milliseconds with quartiles, and the median over the
rounds of the ratio to the same round's step without attention, with quartiles.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from data.hyp import load_hyp
from engine.config.parser import run_cli
from engine.runtime.device import choose_precision
from engine.runtime.memory_allocator import keep_freed_memory
from engine.training.forward_and_loss import batch_losses, scale_images
from models import build_model, load_spec
from models.insertion.insert import insert
from models.loss import DetectionLoss

LABELS_AN_IMAGE = 3


def make_step(cfg: str, request: str, image_px: int, batch: int, start: str) -> Callable[[], None]:
    """A function that does a training step, without the optimiser's part.

    Args:
        cfg: Model YAML.
        request: As train.py's --attention; empty for none.
        image_px: Side of the square images.
        batch: Images.
        start: How the module begins.
    """
    spec = load_spec(cfg)
    torch.manual_seed(0)
    model = build_model(insert(spec, request, start=start) if request else spec).train()
    device = torch.device("cpu")
    precision = choose_precision("auto", device)
    model.to(memory_format=precision.memory_format)
    loss = DetectionLoss(model.detect, load_hyp("hyp.scratch-low.yaml"), image_px=image_px)
    images = torch.randint(0, 256, (batch, 3, image_px, image_px), dtype=torch.uint8)
    count = batch * LABELS_AN_IMAGE
    centres, sides = torch.rand(count, 2) * 0.8 + 0.1, torch.rand(count, 2) * 0.2 + 0.05
    number = torch.arange(count) // LABELS_AN_IMAGE
    targets = torch.cat((number.view(-1, 1), torch.zeros(count, 1), centres, sides), 1)

    def step() -> None:
        scaled = scale_images(images, precision)
        batch_losses(model, loss, scaled, targets, precision.autocast(device)).total.backward()
        model.zero_grad(set_to_none=True)

    return step


def measure(steps: list[Callable[[], None]], rounds: int) -> np.ndarray:
    """Seconds (rounds, models); one step of each beforehand is not counted."""
    seconds = np.zeros((rounds + 1, len(steps)))
    for row in seconds:
        for column, step in enumerate(steps):
            began = time.perf_counter()
            step()
            row[column] = time.perf_counter() - began
    return seconds[1:]


def table(names: list[str], seconds: np.ndarray) -> str:
    """Markdown; the first column of `seconds` is without attention."""
    lines = ["| attention | ms a step (quartiles) | ratio (quartiles) |", "|---|---|---|"]
    for column, name in enumerate(names):
        low, middle, high = np.percentile(seconds[:, column] * 1e3, [25, 50, 75])
        ratio = np.percentile(seconds[:, column] / seconds[:, 0], [25, 50, 75])
        lines.append(
            f"| {name} | {middle:.0f} ({low:.0f} to {high:.0f}) | {ratio[1]:.3f} ({ratio[0]:.3f} to {ratio[2]:.3f}) |"
        )
    return "\n".join(lines)


def main() -> None:
    """Read the command line, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attention", nargs="+", default=["CoordAtt", "ECA", "SE", "CBAM"], help="modules")
    parser.add_argument("--at", default="neck.P3,neck.P4,neck.P5", help="where they are inserted")
    parser.add_argument("--start", choices=("identity", "paper"), default="identity", help="how they begin")
    parser.add_argument("--cfg", default="yolov5n.yaml", help="model YAML")
    for name, value in (("img", 320), ("batch", 16), ("rounds", 25)):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    args = parser.parse_args()
    keep_freed_memory()
    requests = ["", *(f"{module}@{args.at}" for module in args.attention)]
    steps = [make_step(args.cfg, request, args.img, args.batch, args.start) for request in requests]
    print(table(["none", *args.attention], measure(steps, args.rounds)))


if __name__ == "__main__":
    sys.exit(run_cli(main))
