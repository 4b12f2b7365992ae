"""Writers of the exported formats. Each takes the traced network and returns nothing; the file is what counts.

The ONNX graph is written by PyTorch's tracing exporter: the newer one took 95 s for yolov5n where this one takes 3 s,
and gives the same outputs. Heavy packages are imported where they are used.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from torch import Tensor

from engine.inference.exported_metadata import INPUT, TORCHSCRIPT_EXTRA, Metadata
from engine.runtime.optional_package import require

if TYPE_CHECKING:
    from engine.exporting.traced_network import ExportModule

OUTPUT = "output0"  # YOLOv5's name
_UNQUANTISED = r".*/(decode|suppression)/.*"  # boxes in pixels and scores share their tensors


def write_torchscript(module: ExportModule, images: Tensor, file: Path, metadata: Metadata) -> None:
    """Trace the network; facts lie in the archive as `config.txt`, as in the original."""
    with _quiet_tracing(), torch.no_grad():
        traced: Any = torch.jit.trace(module, images, strict=False, check_trace=False)
        extra = json.dumps({"shape": list(images.shape), **metadata.to_dict()}, ensure_ascii=False)
        traced.save(str(file), _extra_files={TORCHSCRIPT_EXTRA: extra})


def write_onnx(
    module: ExportModule, images: Tensor, file: Path, metadata: Metadata, *, opset: int, simplify: bool = False
) -> None:
    """Write an ONNX file with the facts in its metadata.

    Raises:
        ValueError: If a package is missing, or the opset lacks an operation that the network needs.
    """
    onnx = require("onnx", "writing ONNX")
    axes = {INPUT: {0: "batch", 2: "height", 3: "width"}, OUTPUT: {0: "batch", 1: "boxes"}}
    outputs = [OUTPUT]
    if metadata.raw_head is not None:
        outputs = [f"output{level}" for level in range(len(metadata.raw_head["strides"]))]
        axes = {name: axes[INPUT] for name in (INPUT, *outputs)}
    try:
        with _quiet_tracing(), torch.no_grad():
            torch.onnx.export(
                module,
                (images,),
                str(file),
                dynamo=False,
                opset_version=opset,
                input_names=[INPUT],
                output_names=outputs,
                dynamic_axes=axes if metadata.dynamic else None,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ValueError(f"the network cannot be written with --opset {opset}: {str(error).splitlines()[0]}") from error
    graph = onnx.load(str(file))
    if simplify:
        graph = require("onnxslim", "--simplify").slim(graph)
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, metadata.to_properties())
    onnx.checker.check_model(graph)
    onnx.save(graph, str(file))


def write_openvino(
    onnx_file: Path, folder: Path, metadata: Metadata, calibration: Iterable[np.ndarray] | None = None
) -> None:
    """Convert an ONNX file to OpenVINO's pair of files, with the facts inside and in a YAML beside.

    Args:
        onnx_file: The source, in fp32.
        folder: `<name>_openvino_model`, made if missing.
        metadata: Its `half` compresses weights to fp16, its `int8` quantises.
        calibration: Batches (B, C, H, W) float32 for int8.

    Raises:
        ValueError: If a package is missing.
    """
    openvino = require("openvino", "writing OpenVINO")
    network = openvino.convert_model(str(onnx_file))
    if metadata.int8:
        network = _quantised(network, calibration)
    for key, text in metadata.to_properties().items():
        network.set_rt_info(text, ["model_info", key])
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder.name.removesuffix("_openvino_model")
    openvino.save_model(network, str(folder / f"{stem}.xml"), compress_to_fp16=metadata.half)
    text = yaml.safe_dump(metadata.to_dict(), allow_unicode=True, sort_keys=False)
    (folder / f"{stem}.yaml").write_text(text, encoding="utf-8")


def _quantised(network: Any, calibration: Iterable[np.ndarray] | None) -> Any:  # noqa: ANN401  (of an optional package)
    """Post-training quantisation of everything but the decoding of boxes and their suppression."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that nncf imports
        nncf = require("nncf", "--int8")
        nncf.set_log_level(30)
        batches = list(calibration or ())
        return nncf.quantize(
            network,
            nncf.Dataset(batches),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(patterns=[_UNQUANTISED], validate=False),
        )


def write_ncnn(module: ExportModule, images: Tensor, folder: Path, metadata: Metadata) -> None:
    """Convert to ncnn with pnnx: `model.ncnn.param`, `model.ncnn.bin` and the facts in `metadata.yaml`.

    Raises:
        ValueError: If pnnx is missing, or cannot convert the network.
    """
    pnnx = require("pnnx", "writing ncnn")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        traced = Path(place) / "model.torchscript"
        with _quiet_tracing(), torch.no_grad():
            graph: Any = torch.jit.trace(module, images, strict=False, check_trace=False)
            graph.save(str(traced))
        shape = "x".join(map(str, images.shape)).replace("x", ",")
        words = [pnnx.EXEC_PATH, str(traced), f"inputshape=[{shape}]", "fp16=0"]
        done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
        for name in ("model.ncnn.param", "model.ncnn.bin"):
            if done.returncode or not (Path(place) / name).is_file():
                raise ValueError(
                    f"pnnx cannot convert this network: {(done.stdout + done.stderr).strip().splitlines()[-1:]}"
                )
            shutil.copy(Path(place) / name, folder / name)
    text = yaml.safe_dump(metadata.to_dict(), allow_unicode=True, sort_keys=False)
    (folder / "metadata.yaml").write_text(text, encoding="utf-8")


def require_tensorrt() -> ModuleType:
    """TensorRT, and a GPU to build for.

    Raises:
        ValueError: If one of them is missing.
    """
    trt = require("tensorrt", "writing a TensorRT engine")
    if not torch.cuda.is_available():
        raise ValueError("writing a TensorRT engine needs an NVIDIA GPU, and none is visible here")
    return trt


def write_tensorrt(onnx_file: Path, file: Path, metadata: Metadata, *, workspace_gb: float) -> None:
    """Build a TensorRT engine on this machine's GPU; facts come first in the file, as in the original.

    Raises:
        ValueError: If TensorRT or a GPU is missing, or the engine cannot be built.
    """
    trt = require_tensorrt()
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    settings = builder.create_builder_config()
    settings.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(workspace_gb * 2**30))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx_file)):
        raise ValueError(f"TensorRT cannot read the network: {parser.get_error(0)}")
    if metadata.dynamic:
        height, width = metadata.imgsz or (640, 640)
        profile = builder.create_optimization_profile()
        channels = metadata.channels
        shapes = [(1, channels, metadata.stride, metadata.stride), (1, channels, height, width)]
        profile.set_shape(INPUT, *shapes, (max(metadata.batch, 1), channels, 2 * height, 2 * width))
        settings.add_optimization_profile(profile)
    if metadata.half:
        settings.set_flag(trt.BuilderFlag.FP16)
    built = builder.build_serialized_network(network, settings)
    if built is None:
        raise ValueError("TensorRT could not build an engine; its log above says why")
    facts = json.dumps(metadata.to_dict()).encode()
    with file.open("wb") as stream:
        stream.write(len(facts).to_bytes(4, "little", signed=True))
        stream.write(facts)
        stream.write(built)


@contextmanager
def _quiet_tracing() -> Iterator[None]:
    """Tracing warns of every shape it fixes; whether the file is right is measured afterwards."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
