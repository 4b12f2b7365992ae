"""What val.py does: load model and data set, evaluate, print YOLOv5's table, write results.json and the plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from data.dataset.dataset_yaml import DatasetSpec, load_dataset_spec
from data.loading.loader import create_loader
from engine.config.files import new_run_folder
from engine.config.val_config import ValConfig
from engine.inference.image_size import note_fixed_size, whole_strides
from engine.inference.network import Network
from engine.inference.open_weights import is_exported, open_network
from engine.runtime.console import note
from engine.runtime.device import select_device
from engine.validation.coco_metrics import COCO_LAYOUT, FIELD_LAYOUT, MAX_DETS
from engine.validation.error_report import ErrorRecorder, error_table, errors_dict, save_error_plot
from engine.validation.evaluate import evaluate
from engine.validation.prediction_files import COCO_CATEGORY_IDS, CocoWriter, LabelFileWriter
from engine.validation.result_table import EvalResult
from files.disk import results_in
from models.user_modules import load_modules
from models.weights.checkpoint import load_model
from models.weights.download import find_weights

if TYPE_CHECKING:
    from data.loading.loader import BatchLoader
    from engine.validation.worst_images_page import Explain

_MANY_CLASSES = 50  # from here on rows per class are printed only with --verbose


def validate(config: ValConfig) -> list[EvalResult]:
    """Validate each weights file, print the tables and write the run folders.

    Args:
        config: The command line.

    Returns:
        One result for each weights file.

    Raises:
        ValueError: On files that are missing or wrong, or a model of other classes than the data set.
    """
    for warning in config.warnings:
        note(warning)
    load_modules(config.module)
    device = select_device(config.device)
    for weights in config.weights:
        if not is_exported(weights):
            find_weights(weights)  # before the data: reading a generated set for the first time draws it
    spec = load_dataset_spec(config.data, single_cls=config.single_cls)
    # Several weights are an ensemble, but for the speed they are timed in turn.
    groups = [(weights,) for weights in config.weights] if config.task == "speed" else [config.weights]
    with results_in(Path(config.project)):
        return [_validate_one(config, weights, spec, device) for weights in groups]


def _validate_one(config: ValConfig, files: Sequence[str], spec: DatasetSpec, device: torch.device) -> EvalResult:
    network = open_network(files, device, _precision(config, device), augment=config.augment, dnn=config.dnn)
    weights = " ".join(files)
    _check_classes(network, spec, weights, config.single_cls)
    if network.finished:
        if config.save_hybrid:
            raise ValueError(f"--save-hybrid {weights}: labels cannot join a suppression inside the file; take the .pt")
        note(f"the suppression inside {weights} cuts off the recall curve and lowers mAP; export without --nms")
    note_fixed_size(network, weights)
    image_px = _image_px(config.imgsz, network)
    loader = _loader(config, spec, image_px, network)
    folder = new_run_folder(config.project, config.name, exist_ok=config.exist_ok)
    print(f"{weights}: {network.description}", flush=True)
    labels, coco = _writers(config, spec, loader, folder)
    errors = ErrorRecorder(spec.names) if config.errors else None
    _warm_up(network, image_px)
    result = evaluate(
        network,
        loader,
        names=spec.names,
        conf_thres=config.conf_thres,
        iou_thres=config.iou_thres,
        max_det=config.max_det,
        single_cls=config.single_cls,
        hybrid=config.save_hybrid,
        save_dir=folder,
        plots=config.plots,
        explain=_explain(config, files, spec, device, image_px),
        observers=[writer for writer in (labels, coco, errors) if writer is not None],
    )
    _print(result, config, (config.batch_size, network.channels, image_px, image_px))
    if loader.dataset.unreadable:
        note(f"{len(loader.dataset.unreadable)} images could not be read, the first: {loader.dataset.unreadable[0]}")
    extra = {"task": config.task, "weights": weights, "data": str(spec.file), "config": asdict(config)}
    if coco is not None:
        extra |= _coco_figures(coco, spec, folder / f"{Path(files[0]).stem}_predictions.json", config.max_det)
    if errors is not None:
        extra["errors"] = _errors(errors, config, folder)
    _write_results(result, extra, folder)
    if labels is not None:
        print(f"{labels.files} labels saved to {labels.folder}")
    print(f"Results saved to {folder}")
    return result


def _precision(config: ValConfig, device: torch.device) -> str:
    """The arithmetic asked for; by default fp32, and fp16 for the speed of a GPU, as in YOLOv5."""
    default = "16" if config.task == "speed" and device.type == "cuda" else "32"
    return config.precision or default


def _check_classes(model: Network, spec: DatasetSpec, weights: str, single_cls: bool) -> None:
    if single_cls:
        return
    if model.nc != spec.nc:
        raise ValueError(
            f"{weights} has {model.nc} classes but {spec.file} has {spec.nc}; give weights trained on this data set, "
            "or --single-cls to compare boxes alone"
        )
    if model.names != spec.names:
        note(f"the class names of {weights} and {spec.file} differ; the data set's are used")


def _image_px(wanted: int, network: Network) -> int:
    """The image size rounded up to a multiple of the stride; the file's own where it takes no other."""
    if network.image_hw is not None:
        height, width = network.image_hw
        if height != width:
            raise ValueError(f"the weights take images of {height}x{width}; val.py needs a square or --dynamic")
        if height != wanted:
            note(f"--imgsz {wanted} is not the {height} that the weights were exported for; {height} is used")
        return height
    stride_px = network.stride_px
    image_px = whole_strides(wanted, stride_px)
    if image_px != wanted:
        note(f"--imgsz {wanted} is not a multiple of the stride {stride_px}; {image_px} is used")
    return image_px


def _loader(config: ValConfig, spec: DatasetSpec, image_px: int, network: Network) -> BatchLoader:
    """Rectangular batches with a border of half a stride, as YOLOv5 validates.

    Squares for the speed and for weights of one size.
    """
    rect = config.task != "speed" and network.image_hw is None
    return create_loader(
        spec,
        config.split,
        image_px=image_px,
        batch_size=config.batch_size,
        stride_px=network.stride_px,
        rect=rect,
        pad=0.5 if rect else 0.0,
        single_cls=config.single_cls,
        workers=config.workers,
        shuffle=False,
        channels=network.channels,
    )


def _warm_up(network: Network, image_px: int) -> None:
    """Let a GPU choose its kernels before the clock runs."""
    if network.device.type != "cpu":
        with torch.no_grad():
            image = torch.zeros((1, network.channels, image_px, image_px), device=network.device)
            network(image.contiguous(memory_format=network.memory_format))


def _writers(
    config: ValConfig, spec: DatasetSpec, loader: BatchLoader, folder: Path
) -> tuple[LabelFileWriter | None, CocoWriter | None]:
    labels = coco = None
    if config.save_txt:
        labels = LabelFileWriter(folder / "labels", loader.dataset.paths, confidence=config.save_conf)
    if config.save_json:
        coco = CocoWriter(COCO_CATEGORY_IDS if _is_coco(spec) else range(spec.nc))
    return labels, coco


def _is_coco(spec: DatasetSpec) -> bool:
    return spec.nc == 80 and any(entry.name == "val2017.txt" for entry in spec.val)


def _coco_figures(coco: CocoWriter, spec: DatasetSpec, file: Path, max_det: int) -> dict[str, Mapping[str, float]]:
    coco.save(file)
    print(f"{len(coco.detections)} detections saved to {file}")
    own = spec.path / "annotations" / "instances_val2017.json"
    use_own = _is_coco(spec) and own.is_file()
    print(f"COCO metrics against {own if use_own else 'the labels of the data set'}:", flush=True)
    evaluation = coco.evaluation(spec.names, own if use_own else None)
    print(evaluation.table(COCO_LAYOUT))
    print("The same with up to 1000 detections an image:")
    print(evaluation.table(FIELD_LAYOUT))
    if max_det < MAX_DETS[-1]:
        note(f"--max-det {max_det} limits the detections of an image; --max-det 1000 keeps what the table asks for")
    return {"coco": evaluation.values(COCO_LAYOUT), "coco_max_dets_1000": evaluation.values(FIELD_LAYOUT)}


def _print(result: EvalResult, config: ValConfig, shape: tuple[int, ...]) -> None:
    print(result.table(per_class=_each_class(config, result.names)))
    if not result.instances:
        note(f"no labels in the {config.split} split of {config.data}: there is nothing to measure against")
    absent = result.classes_without_instances
    if absent and result.instances:
        shown = ", ".join(absent[:10]) + (f" and {len(absent) - 10} more" if len(absent) > 10 else "")
        note(f"classes without instances take no part in the means: {shown}")
    speeds = "{:.1f}ms pre-process, {:.1f}ms inference, {:.1f}ms NMS per image".format(*result.speeds_ms)
    print(f"Speed: {speeds} at shape {shape}")


def _each_class(config: ValConfig, names: Mapping[int, str]) -> bool:
    """Whether tables have a row for each class."""
    return config.verbose or len(names) < _MANY_CLASSES


def _explain(
    config: ValConfig, files: Sequence[str], spec: DatasetSpec, device: torch.device, image_px: int
) -> Explain | None:
    """Writes what the model looked at in an image; an exported file and an ensemble have no gradient to tell."""
    if not (config.errors and config.plots):
        return None
    if len(files) > 1 or is_exported(files[0]):
        note("the page of worst images has no heat maps: they need the gradients of a single .pt file")
        return None
    from engine.validation.explained_images import ImageExplainer

    return ImageExplainer(load_model(find_weights(files[0]), device), spec.names, image_px).save


def _errors(recorder: ErrorRecorder, config: ValConfig, folder: Path) -> dict[str, Any]:
    """Print and draw what kinds of mistakes cost; the figures for results.json."""
    costs, names = recorder.costs(), recorder.names
    print(error_table(costs, names, per_class=_each_class(config, names)))
    if config.plots:
        save_error_plot(costs, names, folder / "errors.png")
    return errors_dict(costs, names)


def _write_results(result: EvalResult, extra: Mapping[str, object], folder: Path) -> None:
    text = json.dumps({**extra, **result.to_dict()}, indent=2, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
