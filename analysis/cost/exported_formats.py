"""The formats of export.py side by side (`export.py --benchmark`): size, latency and mAP50-95 beside the source's.

Every file takes the same square images. Latency is the network alone on one image, the median of rounds in which all
files take turns, so that a busy machine slows all of them alike. In its turn a file runs five times and the last three
count: threads of the runtime before it may go on spinning for a while.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from data.dataset.dataset_yaml import load_dataset_spec
from data.loading.loader import create_loader
from engine.config.export_config import ExportConfig
from engine.exporting.run_export import export
from engine.inference.network import Network, TorchNetwork
from engine.inference.open_weights import open_network
from engine.runtime.console import note
from engine.runtime.device import Precision
from engine.validation.evaluate import evaluate
from models.weights.checkpoint import load_model
from models.weights.download import find_weights

CPU = torch.device("cpu")
VARIANTS = (
    ("torchscript", "fp32"),
    ("onnx", "fp32"),
    ("onnx", "fp16"),
    ("openvino", "fp32"),
    ("openvino", "fp16"),
    ("openvino", "int8"),
    ("ncnn", "fp32"),
)
ROUNDS = 20


class Row(NamedTuple):
    """One line of the table."""

    name: str
    precision: str
    megabytes: float
    network: Network


def benchmark(config: ExportConfig) -> str:
    """Write every format that can be written here, into a folder that goes; measure each.

    Args:
        config: Its weights, image size and data count.

    Returns:
        A Markdown table.

    Raises:
        ValueError: If the weights or the data cannot be used.
    """
    assert config.data is not None
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "model.pt"
        shutil.copy(find_weights(config.weights), weights)
        rows = [*_sources(weights), *_exported(weights, config)]
        scores = []
        for number, row in enumerate(rows, 1):
            scores.append(_score(row.network, config))
            note(f"{number} of {len(rows)} validated: {row.name} {row.precision}, mAP50-95 {scores[-1]:.4f}")
        times = _latencies([row.network for row in rows], config.imgsz)
    size, threads = "x".join(map(str, config.imgsz)), torch.get_num_threads()
    lines = [f"{Path(config.weights).name} on {Path(config.data).stem} (val), {size} px, {threads} threads", ""]
    lines += ["| format | precision | MB | ms | mAP50-95 | difference |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for row, ms, score in zip(rows, times, scores, strict=True):
        told = f"{score:.4f} | {score - scores[0]:+.4f}"
        lines.append(f"| {row.name} | {row.precision} | {row.megabytes:.1f} | {ms:.1f} | {told} |")
    return "\n".join(lines)


def _sources(weights: Path) -> list[Row]:
    size = weights.stat().st_size / 1e6
    return [
        Row("PyTorch", name, size, TorchNetwork(load_model(weights), CPU, Precision(dtype, True, name)))
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    ]


def _exported(weights: Path, config: ExportConfig) -> Iterator[Row]:
    """What can be written and run here; the rest is named with the reason."""
    for number, (name, precision) in enumerate(VARIANTS):
        copy = weights.with_name(f"v{number}.pt")
        shutil.copy(weights, copy)
        one = replace(
            config,
            weights=str(copy),
            include=(name,),
            batch_size=1,
            half=precision == "fp16",
            int8=precision == "int8",
            dynamic=False,
            nms=False,
            raw_head=False,
            benchmark=False,
        )
        try:
            (done,) = export(one)
            yield Row(name, precision, done.megabytes, open_network([str(done.path)], CPU))
            if name == "openvino" and precision != "fp16":  # as detect.py runs them on CPUs that are fast at bf16
                told = "bf16 when run" if precision == "fp32" else "int8, the rest bf16"
                yield Row(name, told, done.megabytes, open_network([str(done.path)], CPU, "bf16"))
        except ValueError as error:
            note(f"{name} {precision} is left out: {error}")


def _score(network: Network, config: ExportConfig) -> float:
    assert config.data is not None
    spec, size = load_dataset_spec(config.data), max(config.imgsz)
    loader = create_loader(
        spec, "val", image_px=size, batch_size=8, stride_px=network.stride_px, workers=0, shuffle=False
    )
    return evaluate(network, loader, names=spec.names).map50_95


def _latencies(networks: Sequence[Network], hw: tuple[int, int]) -> list[float]:
    """Median ms of one image, for each network."""
    image = torch.rand(1, networks[0].channels, *hw)
    taken: list[list[float]] = [[] for _ in networks]
    with torch.inference_mode():
        for turn in range(ROUNDS + 2):
            for index, network in enumerate(networks):
                given = image.contiguous(memory_format=network.memory_format)
                for call in range(5):
                    start = time.perf_counter()
                    network(given)
                    if turn >= 2 and call >= 2:  # the first turns warm up
                        taken[index].append(1000 * (time.perf_counter() - start))
    return [statistics.median(values) for values in taken]
