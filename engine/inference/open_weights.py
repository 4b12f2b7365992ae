"""Any weights file, of this project, the original or an exported format, opened as a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from engine.config.export_config import UNSUPPORTED_FORMATS
from engine.inference.exported_network import open_exported
from engine.inference.network import NCNN_FOLDER, OPENVINO_FOLDER, Ensemble, Network, TorchNetwork
from engine.runtime.console import note
from engine.runtime.device import choose_precision
from models.weights.checkpoint import load_model

EXPORTED_SUFFIXES = (".torchscript", ".onnx", ".engine", ".xml")
_FOREIGN = {
    ".mlmodel": "coreml",
    ".mlpackage": "coreml",
    ".pb": "pb",
    ".tflite": "tflite",
    "_saved_model": "saved_model",
    "_web_model": "tfjs",
    "_paddle_model": "paddle",
}


def is_exported(weights: str) -> bool:
    """Whether a file is one of export.py, by its ending."""
    name = str(weights).rstrip("/\\")
    return name.lower().endswith((*EXPORTED_SUFFIXES, OPENVINO_FOLDER, NCNN_FOLDER))


def open_network(
    weights: Sequence[str],
    device: torch.device,
    precision: str = "32",
    *,
    augment: bool = False,
    dnn: bool = False,
) -> Network:
    """Open weights files, several as an ensemble.

    Args:
        weights: `.pt` files, or files of export.py.
        device: Where to run what can choose.
        precision: "auto", "32", "bf16" or "16"; an exported file has its own, only OpenVINO chooses when it runs.
        augment: Test-time augmentation, `.pt` files only.
        dnn: Run an ONNX file with OpenCV instead of onnxruntime.

    Raises:
        ValueError: If a file is missing or wrong, or the options do not go with it.
    """
    networks = [_open_one(str(file), device, precision, augment, dnn) for file in weights]
    return networks[0] if len(networks) == 1 else Ensemble(networks)


def _open_one(weights: str, device: torch.device, precision: str, augment: bool, dnn: bool) -> Network:
    name = weights.rstrip("/\\").lower()
    for ending, kind in _FOREIGN.items():
        if name.endswith(ending):
            raise ValueError(f"--weights {weights}: {kind} files are not supported; {UNSUPPORTED_FORMATS[kind]}")
    if dnn and not name.endswith(".onnx"):
        note(f"--dnn has no effect on {weights}: OpenCV's DNN module reads .onnx files; export.py writes one")
    if not is_exported(weights):
        return TorchNetwork(load_model(weights, device), device, choose_precision(precision, device), augment=augment)
    if augment:
        raise ValueError(f"--augment {weights}: test-time augmentation needs the .pt file")
    return open_exported(weights, device, precision, dnn=dnn)
