"""Exported files side by side: format x precision x size, latency and mAP50-95 against the source.

python -m benchmarks.studies.exported_files --weights best.pt --data data.yaml --imgsz 320
Every file takes the same square images. Latency is the network alone on one image, the median of --repeats rounds in
which all files take turns, so that a busy machine slows all of them alike. In its turn a file runs five times and the
last three count: threads of the runtime before it go on spinning for a while.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

from data.dataset.dataset_yaml import DatasetSpec, load_dataset_spec
from data.loading.loader import create_loader
from engine.config.export_config import ExportConfig
from engine.config.parser import run_cli
from engine.exporting.run_export import export
from engine.inference.network import Network, TorchNetwork
from engine.inference.open_weights import open_network
from engine.runtime.device import Precision
from engine.validation.evaluate import evaluate
from models.weights.checkpoint import load_model

CPU = torch.device("cpu")
VARIANTS = (
    ("torchscript", "fp32"),
    ("onnx", "fp32"),
    ("onnx", "fp16"),
    ("openvino", "fp32"),
    ("openvino", "fp16"),
    ("openvino", "int8"),
)


class Row(NamedTuple):
    """One line of the table."""

    name: str
    precision: str
    megabytes: float
    network: Network


def main() -> None:
    """Export, measure, print."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    spec = load_dataset_spec(args.data)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "best.pt"
        shutil.copy(args.weights, weights)
        rows = _rows(weights, args)
        scores = [] if args.noval else [_score(row.network, spec, args.imgsz) for row in rows]
        times = _latencies([row.network for row in rows], args.imgsz, args.repeats)
    print(f"\n{Path(args.weights).name}, {args.imgsz} px, {args.threads} threads, {Path(args.data).stem}\n")
    print("| format | precision | MB | ms | mAP50-95 | difference |\n| --- | --- | ---: | ---: | ---: | ---: |")
    for i, (row, ms) in enumerate(zip(rows, times, strict=True)):
        told = f"{scores[i]:.4f} | {scores[i] - scores[0]:+.4f} |" if scores else "| |"
        print(f"| {row.name} | {row.precision} | {row.megabytes:.1f} | {ms:.1f} | {told}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/studies/exported_files.py", description=__doc__)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--images", type=int, default=100, help="images to calibrate int8 on")
    parser.add_argument("--noval", action="store_true", help="sizes and latency only")
    return parser.parse_args()


def _rows(weights: Path, args: argparse.Namespace) -> list[Row]:
    size = weights.stat().st_size / 1e6
    rows = [
        Row("PyTorch", name, size, TorchNetwork(load_model(weights), CPU, Precision(dtype, True, name)))
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    ]
    for number, (name, precision) in enumerate(VARIANTS):
        copy = weights.with_name(f"v{number}.pt")
        shutil.copy(weights, copy)
        config = ExportConfig(
            weights=str(copy),
            include=(name,),
            imgsz=(args.imgsz, args.imgsz),
            data=args.data,
            half=precision == "fp16",
            int8=precision == "int8",
            images=args.images,
        )
        (done,) = export(config)
        rows.append(Row(name, precision, done.megabytes, open_network([str(done.path)], CPU)))
        if name == "openvino" and precision != "fp16":  # as detect.py runs them on CPUs that are fast at bf16
            told = "bf16 when run" if precision == "fp32" else "int8, the rest bf16"
            rows.append(Row(name, told, done.megabytes, open_network([str(done.path)], CPU, "bf16")))
    return rows


def _score(network: Network, spec: DatasetSpec, image_px: int) -> float:
    loader = create_loader(
        spec, "val", image_px=image_px, batch_size=8, stride_px=network.stride_px, workers=0, shuffle=False
    )
    return evaluate(network, loader, names=spec.names).map50_95


def _latencies(networks: list[Network], image_px: int, repeats: int) -> list[float]:
    """Median ms of one image, for each network."""
    image = torch.rand(1, 3, image_px, image_px)
    taken: list[list[float]] = [[] for _ in networks]
    with torch.inference_mode():
        for turn in range(repeats + 2):
            for index, network in enumerate(networks):
                given = image.contiguous(memory_format=network.memory_format)
                for call in range(5):
                    start = time.perf_counter()
                    network(given)
                    if turn >= 2 and call >= 2:  # the first turns warm up
                        taken[index].append(1000 * (time.perf_counter() - start))
    return [statistics.median(values) for values in taken]


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
