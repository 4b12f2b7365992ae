"""Networks from files of export.py, and from the original's exports of the same formats."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.inference.exported_metadata import INPUT, TORCHSCRIPT_EXTRA, Metadata
from engine.inference.network import NCNN_FOLDER, OPENVINO_FOLDER, Network
from engine.inference.raw_head import HeadDecoding
from engine.runtime.console import first_line, note
from engine.runtime.optional_package import require
from files.literals import MAX_TEXT, read_literal
from files.yaml_file import read_yaml

Run = Callable[[Tensor], Any]


class ExportedNetwork(Network):
    """A file with its own arithmetic, and possibly one size and batch only."""

    def __init__(self, run: Run, metadata: Metadata, device: torch.device, description: str) -> None:
        """Put a runtime behind the common face.

        Args:
            run: From (B, C, H, W) images to predictions, an array or a tensor; of a raw head to a list of maps.
            metadata: What the file says about itself.
            device: Where it wants its images.
            description: For the log.
        """
        self._run, self.device, self.metadata = run, device, metadata
        self.names, self.stride_px, self.channels = metadata.names, metadata.stride, metadata.channels
        if not metadata.dynamic:
            self.image_hw, self.batch_size = metadata.imgsz, metadata.batch
        self.finished = metadata.nms is not None
        self._decode = None if metadata.raw_head is None else HeadDecoding(metadata.raw_head, len(self.names))
        self._columns = 6 if self.finished else 5 + len(self.names)
        numbers = "int8" if metadata.int8 else "fp16" if metadata.half else "fp32"
        size = "any size" if self.image_hw is None else "{}x{} px".format(*self.image_hw)
        self.description = f"{description}, {numbers}, {size}"
        if metadata.nms is not None:
            self.description += f", suppression inside ({_listed(metadata.nms)})"

    def __call__(self, images: Tensor) -> Tensor:
        """See the base class; a file of a fixed batch gets its images in portions, the last one filled up."""
        images = images.contiguous()
        size = self.batch_size or len(images)
        found = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            filled = torch.cat((part, part[-1:].expand(size - len(part), -1, -1, -1))) if len(part) < size else part
            given = self._run(filled)
            predictions = torch.as_tensor(given) if self._decode is None else self._decode(given)
            found.append(predictions[: len(part)].float())
        return self._checked(torch.cat(found))

    def _checked(self, found: Tensor) -> Tensor:
        if found.ndim != 3 or found.shape[2] != self._columns:
            raise ValueError(
                f"the exported file gives {tuple(found.shape)}; expected (images, boxes, {self._columns}), YOLOv5's "
                f"layout for its {len(self.names)} classes: files of other detectors are not read"
            )
        return found


def open_exported(weights: str, device: torch.device, precision: str, *, dnn: bool = False) -> ExportedNetwork:
    """Open an exported file by its ending.

    Raises:
        ValueError: If it is missing or damaged, its runtime is not installed, or the precision is not its own.
    """
    file = Path(weights)
    if not file.exists():
        raise ValueError(f"weights file {weights!r} was not found; export.py writes it")
    if file.is_dir() and file.name.lower().endswith(NCNN_FOLDER):
        return _ncnn(file)
    if file.is_dir() or file.suffix == ".xml":
        return _openvino(file, precision)
    suffix = file.suffix.lower()
    network = {".torchscript": _torchscript, ".onnx": _opencv if dnn else _onnx, ".engine": _tensorrt}[suffix](
        file, device
    )
    own = "16" if network.metadata.half else "32"
    if precision not in ("auto", "32", own):
        asked = "--half" if precision == "16" else f"--precision {precision}"
        note(
            f"{asked} has no effect on {file}, which computes in its own precision, {own}; the .pt file would follow it"
        )
    return network


def _torchscript(file: Path, device: torch.device) -> ExportedNetwork:
    import torchvision.ops  # noqa: F401  (registers what a file with --nms calls)

    extra = {TORCHSCRIPT_EXTRA: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated, and still asked for
            network = torch.jit.load(str(file), _extra_files=extra, map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{file}: not a readable TorchScript file: {first_line(error)}") from error
    facts = _json_facts(extra[TORCHSCRIPT_EXTRA] or "{}", file)
    shape = facts.get("shape")
    if isinstance(shape, list) and len(shape) == 4:  # all that the original tells of the input
        facts = {"channels": shape[1], "imgsz": shape[2:], **facts}
    metadata = Metadata.read(facts, file)
    dtype = torch.float16 if metadata.half else torch.float32
    return ExportedNetwork(lambda images: network(images.to(dtype)), metadata, device, f"TorchScript on {device}")


def _onnx(file: Path, device: torch.device) -> ExportedNetwork:
    runtime = require("onnxruntime", f"{file}")
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"] if device.type == "cuda" else ["CPUExecutionProvider"]
    providers = [name for name in wanted if name in runtime.get_available_providers()]
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as engine.runtime.core_sharing
    try:
        session = runtime.InferenceSession(str(file), options, providers=providers)
    except Exception as error:  # its own errors share no other base
        raise ValueError(f"{file}: not a readable ONNX file: {first_line(error)}") from error
    given = session.get_inputs()[0]
    metadata = Metadata.of_onnx(session.get_modelmeta().custom_metadata_map, given.shape, file)
    dtype = np.float16 if given.type == "tensor(float16)" else np.float32
    outputs = [output.name for output in session.get_outputs()]
    outputs = outputs[:1] if metadata.raw_head is None else outputs

    def run(images: Tensor) -> Any:  # noqa: ANN401  (an array, or a list of them)
        found = session.run(outputs, {given.name: images.cpu().numpy().astype(dtype, copy=False)})
        return found[0] if metadata.raw_head is None else found

    return ExportedNetwork(run, metadata, torch.device("cpu"), f"onnxruntime ({providers[0]})")


def _opencv(file: Path, _: torch.device) -> ExportedNetwork:
    import cv2

    onnx = require("onnx", "--dnn")
    try:
        graph = onnx.load(str(file), load_external_data=False)
        shape = [axis.dim_value or None for axis in graph.graph.input[0].type.tensor_type.shape.dim]
    except Exception as error:  # protobuf's errors share no other base
        raise ValueError(f"{file}: not a readable ONNX file: {first_line(error)}") from error
    facts = {entry.key: entry.value for entry in graph.metadata_props}
    metadata = Metadata.of_onnx(facts, shape, file)
    if metadata.half:
        raise ValueError(f"--dnn {file}: OpenCV's DNN module computes in fp32; export without --half")
    if metadata.raw_head is not None:
        raise ValueError(f"--dnn {file}: the file has a raw head, which onnxruntime reads; leave --dnn out")
    try:
        network = cv2.dnn.readNetFromONNX(str(file))
    except cv2.error as error:
        raise ValueError(f"--dnn {file}: OpenCV cannot read this network: {first_line(error)}") from error

    def run(images: Tensor) -> np.ndarray:
        network.setInput(images.cpu().numpy(), INPUT)
        return network.forward()

    return ExportedNetwork(run, metadata, torch.device("cpu"), f"OpenCV {cv2.__version__}")


def _openvino(place: Path, precision: str) -> ExportedNetwork:
    """Computes in fp32 unless bf16 or "auto" is asked for: on many CPUs OpenVINO would choose bf16 by itself."""
    openvino = require("openvino", f"{place}")
    files = sorted(place.glob("*.xml")) if place.is_dir() else [place]
    if len(files) != 1:
        raise ValueError(f"{place}: expected one .xml file in a folder <name>{OPENVINO_FOLDER} but got {len(files)}")
    hints = {"32": "f32", "bf16": "bf16", "16": "f16"}
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    if precision != "auto":
        settings["INFERENCE_PRECISION_HINT"] = hints[precision]
    core = openvino.Core()
    try:
        model = core.read_model(str(files[0]))
        network = core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]  # places in its source come first
        raise ValueError(f"{files[0]}: not a readable OpenVINO model: {reason}") from error
    metadata = Metadata.read(_openvino_facts(model, files[0]), files[0])
    request = network.create_infer_request()

    def run(images: Tensor) -> Any:  # noqa: ANN401  (an array, or a list of them)
        found = request.infer([images.cpu().numpy()], share_inputs=True)
        return found[0] if metadata.raw_head is None else [found[level] for level in range(len(found))]

    return ExportedNetwork(run, metadata, torch.device("cpu"), f"OpenVINO {openvino.__version__.split('-')[0]}")


def _ncnn(folder: Path) -> ExportedNetwork:
    """A network of pnnx: one image of one size, in fp32 on the CPU, its maps decoded here."""
    ncnn = require("ncnn", f"{folder}")
    facts = read_yaml(folder / "metadata.yaml")
    metadata = Metadata.read(facts if isinstance(facts, dict) else {}, folder)
    if metadata.raw_head is None:
        raise ValueError(f"{folder}: expected ncnn files of export.py, which give the maps of the head")
    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.opt.num_threads = torch.get_num_threads()
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(network.opt, name, False)
    parts = [folder / "model.ncnn.param", folder / "model.ncnn.bin"]
    if absent := [part.name for part in parts if not part.is_file()]:
        raise ValueError(f"{folder}: {absent[0]} is missing")
    if network.load_param(str(parts[0])) or network.load_model(str(parts[1])):
        raise ValueError(f"{folder}: not a readable ncnn network; write it again with export.py")
    levels = len(metadata.raw_head["strides"])

    def run(images: Tensor) -> list[np.ndarray]:
        extractor = network.create_extractor()
        extractor.input("in0", ncnn.Mat(images[0].cpu().numpy()))
        return [np.array(extractor.extract(f"out{level}")[1])[None] for level in range(levels)]

    return ExportedNetwork(run, metadata, torch.device("cpu"), f"ncnn {ncnn.__version__}")


def _openvino_facts(model: Any, file: Path) -> dict[str, Any]:  # noqa: ANN401  (an OpenVINO model)
    """From inside the file; from the YAML beside it where the original wrote it."""
    if model.has_rt_info(["model_info", "names"]):
        keys = [key for key in Metadata.__dataclass_fields__ if model.has_rt_info(["model_info", key])]
        return {key: model.get_rt_info(["model_info", key]).astype(str) for key in keys}
    beside = file.with_suffix(".yaml")
    facts = read_yaml(beside) if beside.is_file() else {}
    if not isinstance(facts, dict):
        raise ValueError(f"{beside}: expected the names and stride of {file.name} but got a {type(facts).__name__}")
    shape = model.input(0).partial_shape
    if shape.is_static:
        batch, channels, height, width = (int(side) for side in shape.to_shape())
        return {"imgsz": [height, width], "batch": batch, "channels": channels, **facts}
    return {"dynamic": True, **facts}


def _tensorrt(file: Path, device: torch.device) -> ExportedNetwork:
    trt = require("tensorrt", f"{file}")
    if device.type != "cuda":
        raise ValueError(f"{file}: a TensorRT engine runs on an NVIDIA GPU; give one with --device 0")
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(4), "little", signed=True)
        facts = _json_facts(stream.read(min(max(size, 0), MAX_TEXT)), file)
        engine = trt.Runtime(trt.Logger(trt.Logger.WARNING)).deserialize_cuda_engine(stream.read())
    if engine is None:
        raise ValueError(f"{file}: TensorRT cannot read this engine; it belongs to the machine that built it")
    context = engine.create_execution_context()
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    outputs = [name for name in names if name not in inputs]

    def run(images: Tensor) -> Tensor:
        context.set_input_shape(inputs[0], tuple(images.shape))
        found = torch.empty(tuple(context.get_tensor_shape(outputs[0])), device=device)
        context.set_tensor_address(inputs[0], images.data_ptr())
        context.set_tensor_address(outputs[0], found.data_ptr())
        context.execute_async_v3(torch.cuda.current_stream(device).cuda_stream)
        return found

    return ExportedNetwork(run, Metadata.read(facts, file), device, f"TensorRT on {device}")


def _listed(thresholds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in thresholds.items())


def _json_facts(text: str | bytes, file: Path) -> dict[str, Any]:
    """The facts that formats without metadata of their own carry as JSON."""
    try:
        facts = read_literal(text.decode("utf-8") if isinstance(text, bytes) else text)
        if not isinstance(facts, dict):
            raise ValueError(f"expected a mapping but got a {type(facts).__name__}")
    except ValueError as error:
        raise ValueError(
            f"{file}: carries no class names and stride that can be read ({error}); expected a file of export.py"
        ) from error
    return facts
