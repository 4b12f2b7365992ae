"""How exact a training step is in each arithmetic and layout, and what batch normalisation costs in them.

    python -m benchmarks.studies.numerics --data roadsigns.yaml [--weights last.pt]

Prints the error of the raw outputs and of the gradient of yolov5n against float64, on one training batch, and the time
of a training pass of batch normalisation against torch's own, both channels_last, on the CPU.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmarks.attention.timing import Spread, Work, clock_of, paired_ms, warm_up
from data.dataset.dataset_yaml import load_dataset_spec
from data.hyp import load_hyp
from data.loading.loader import Batch, create_loader
from engine.config.parser import run_cli
from models import build_model, load_model, load_spec
from models.blocks.batch_norm import BatchNorm2d
from models.loss import DetectionLoss
from models.yolo import DetectionModel

NHWC, NCHW = torch.channels_last, torch.contiguous_format
STEPS = {  # dtype, autocast to bf16, memory format, torch's own batch normalisation
    "fp32, NCHW": (torch.float32, False, NCHW, False),
    "fp32, channels_last, torch's normalisation": (torch.float32, False, NHWC, True),
    "fp32, channels_last": (torch.float32, False, NHWC, False),
    "bf16, channels_last, torch's normalisation": (torch.float32, True, NHWC, True),
    "bf16, channels_last": (torch.float32, True, NHWC, False),
}
SHAPES = [(16, 16, 160, 160), (16, 32, 80, 80), (16, 64, 40, 40), (16, 128, 20, 20), (16, 256, 10, 10)]


def step(
    model: DetectionModel, batch: Batch, dtype: torch.dtype, bf16: bool, layout: torch.memory_format, torchs: bool
) -> tuple[list[Tensor], Tensor]:
    """Raw maps and the gradient of all parameters as one vector, both in float64."""
    model = copy.deepcopy(model).to(dtype).train().to(memory_format=layout)
    if torchs:
        for module in model.modules():
            if isinstance(module, BatchNorm2d):
                module.__class__ = nn.BatchNorm2d  # pyright: ignore[reportAttributeAccessIssue]
    loss = DetectionLoss(model.detect, load_hyp("hyp.scratch-low.yaml"), image_px=batch.images.shape[2])
    images = (batch.images.to(dtype) / 255).to(memory_format=layout)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        raw = model(images)
    raw = [level.to(dtype) for level in raw]
    loss(raw, batch.targets.to(dtype)).total.backward()
    return [level.detach().double() for level in raw], torch.cat(
        [p.grad.double().flatten() for p in model.parameters() if p.grad is not None]
    )


def relative(a: Tensor, b: Tensor) -> float:
    """Norm of the difference over the norm of `b`."""
    return ((a - b).norm() / b.norm()).item()


def errors(model: DetectionModel, batch: Batch) -> Iterator[str]:
    """Rows of a Markdown table."""
    yield "| step | error of the P5 outputs | error of the gradient | its cosine with the true one |\n|---|---|---|---|"
    outputs, gradient = step(model, batch, torch.float64, False, NCHW, False)
    for name, how in STEPS.items():
        raw, mine = step(model, batch, *how)
        cosine = nn.functional.cosine_similarity(mine, gradient, 0).item()
        yield f"| {name} | {relative(raw[-1], outputs[-1]):.1e} | {relative(mine, gradient):.1e} | {cosine:.3f} |"


def times(rounds: int) -> Iterator[str]:
    """Rows of a Markdown table: forward and backward of the normalisation alone, torch's over ours."""
    yield "| map | dtype | torch's, ms | ours, ms | ratio (quartiles) |\n|---|---|---|---|---|"
    clock = clock_of(torch.get_num_threads())[1]
    for shape in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.randn(shape).to(dtype).contiguous(memory_format=NHWC).requires_grad_()
            gradient = torch.randn_like(x)
            works = [_pass(norm(shape[1]), x, gradient) for norm in (nn.BatchNorm2d, BatchNorm2d)]
            samples = paired_ms(works, [warm_up(work, clock) for work in works], rounds=rounds, seconds=5, clock=clock)
            torchs, ours = (Spread.of(column).median for column in zip(*samples, strict=True))
            ratio = Spread.of([a / b for a, b in samples])
            name = "x".join(map(str, shape))
            yield (
                f"| {name} | {str(dtype)[6:]} | {torchs:.2f} | {ours:.2f} "
                f"| {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) |"
            )


def _pass(norm: nn.BatchNorm2d, x: Tensor, gradient: Tensor) -> Work:
    return lambda: torch.autograd.grad(norm(x), (x, norm.weight, norm.bias), gradient)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="signs_tiny.yaml", help="dataset YAML")
    parser.add_argument("--weights", default="", help="of a trained model; empty: an untrained yolov5n")
    parser.add_argument("--img", type=int, default=320, help="image size")
    parser.add_argument("--batch", type=int, default=16, help="images")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of the timing")
    parser.add_argument("--threads", type=int, default=1, help="threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dataset = load_dataset_spec(args.data)
    loader = create_loader(
        dataset, image_px=args.img, batch_size=args.batch, hyp=load_hyp("hyp.scratch-low.yaml"), augment=True, workers=0
    )
    torch.manual_seed(0)
    model = load_model(args.weights) if args.weights else build_model(load_spec("yolov5n.yaml", nc=dataset.nc))
    for line in errors(model.requires_grad_(True), next(iter(loader))):
        print(line, flush=True)
    print()
    for line in times(args.rounds):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(run_cli(main))
