"""Train a detector: put the parts together, let Lightning run the loop, finish the run folder."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from data.dataset.dataset_yaml import DatasetSpec, list_images, load_dataset_spec
from data.hyp import Hyperparameters
from data.loading.samples import DetectionDataset
from engine.config.train_config import TrainConfig
from engine.config.train_request import ResumeRequest, TrainRequest, read_request
from engine.inference.image_size import training_px, whole_strides
from engine.runtime.console import clock, note, say
from engine.runtime.device import Precision, choose_precision
from engine.runtime.distributed import Processes, joined
from engine.training.batch_size_search import Meter, find_batch
from engine.training.build_run import (
    create_loaders,
    create_model,
    fit_anchors,
    label_statistics,
    summary,
    tell_of_mirrored_classes,
)
from engine.training.cross_validation import FOLD_DATA, write_fold
from engine.training.lightning_loop import Fit, warms_up_in_fp32
from engine.training.loss_and_memory_recovery import OutOfMemory
from engine.training.optimizer_and_schedule import accumulation
from engine.training.resume import Interrupted, find_interrupted
from engine.training.run_folder import new_folder, open_folder
from engine.training.run_record import Run
from engine.training.training_plots import plot_results
from engine.validation.result_table import EvalResult
from files.disk import results_in
from models.freeze import freeze
from models.user_modules import load_modules, loaded_files
from models.weights.checkpoint import load_model, model_from_checkpoint, read_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from models.yolo import DetectionModel

Examine = Callable[[DatasetSpec, Mapping[str, DetectionDataset], int, Hyperparameters], Sequence[str]]
TO_MAKE_LONGER = ("epoch", "ema_updates", "last_update_step", "best_fitness", "best_epoch", "class_ap")


@dataclass(frozen=True)
class TrainResult:
    """What a finished run leaves."""

    config: TrainConfig  # as it ran
    folder: Path
    weights: Path  # the best
    evaluation: EvalResult  # of those weights on the validation split


def train(request: TrainRequest | TrainConfig | ResumeRequest, *, examine: Examine | None = None) -> TrainResult:
    """Train as configured, or go on with an interrupted run.

    Args:
        request: Settings alone are those of a run whose files are still to be read.
        examine: Looks at what was read of a new run's data set and returns lines to print.

    Raises:
        ValueError: If a file or a setting is wrong, or the loss is no longer a number.
        KeyboardInterrupt: After Ctrl-C or SIGTERM; the last full epoch's weights are saved.
    """
    load_modules(request.config.module if isinstance(request, TrainRequest) else request.module)
    with ExitStack() as alone:
        if isinstance(request, ResumeRequest):
            interrupted = find_interrupted(request, alone)
            config, make = interrupted.config, partial(_resumed, interrupted)
        elif isinstance(request, TrainRequest):
            interrupted, config, make = None, request.config, lambda: request
        else:
            interrupted, config, make = None, request, partial(read_request, request)
        with results_in(Path(config.project)), joined(config.device) as processes:
            started = processes.from_main(make)
            load_modules(processes.from_main(loaded_files))  # those that the model YAML names too
            return _train(started, interrupted, processes, alone, examine)


def _resumed(interrupted: Interrupted) -> TrainRequest:
    """A run to go on with: on the images, and with the hyperparameters, that it began with."""
    config = interrupted.config
    data = interrupted.run_folder / FOLD_DATA if config.folds else config.data
    hyp = Hyperparameters.from_dict(interrupted.state["hyp"])
    return TrainRequest(config, hyp, load_dataset_spec(data, single_cls=config.single_cls))


def _train(
    request: TrainRequest,
    interrupted: Interrupted | None,
    processes: Processes,
    alone: ExitStack,
    examine: Examine | None,
) -> TrainResult:
    for warning in request.config.warnings:
        note(warning)
    started = time.perf_counter()
    run, fit = _fit(request, interrupted, processes, alone, examine)
    say(f"\nTraining took {clock(time.perf_counter() - started)}")
    with results_in(run.folder, f"the weights are kept; to finish the run: python train.py --resume {run.last}"):
        return processes.from_main(lambda: _finish(run, fit))


def _fit(
    request: TrainRequest,
    interrupted: Interrupted | None,
    processes: Processes,
    alone: ExitStack,
    examine: Examine | None,
) -> tuple[Run, Fit]:
    """Train; where the first epoch does not fit into memory, begin again with half the batch."""
    if request.config.batch_size != -1:
        processes.share_of(request.config.batch_size)  # before anything that takes long
    folder = interrupted.run_folder if interrupted else None
    if request.config.folds and not interrupted:  # made before the model, because the split is written into it
        request, folder = processes.from_main(lambda: _with_fold(request, alone))
    while True:
        run, model = _prepare(request, interrupted, processes, alone, folder)
        if examine is not None and interrupted is None and processes.main:
            read = {"train": run.train.dataset, "val": run.val.dataset}
            for line in examine(request.dataset, read, run.image_px, run.hyp):
                say(line)
            examine = None  # said once, also where the batch is halved
        fit = Fit(run, model, interrupted)
        try:
            if not fit.finished:
                with results_in(run.folder, partial(_kept, run)):
                    fit.run_epochs()
            return run, fit
        except OutOfMemory:
            request, folder = replace(request, config=_halve(run, fit)), run.folder
        del run, model, fit  # or the next attempt would find the memory still taken
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _kept(run: Run) -> str:
    """What a run that cannot write leaves, and how to go on."""
    if not run.last.is_file():
        return "no epoch was finished"
    return f"the weights of the last full epoch are kept; to go on: python train.py --resume {run.last}"


def _halve(run: Run, fit: Fit) -> TrainConfig:
    """The settings with half the batch.

    Raises:
        ValueError: If the run is past its first epoch, where another batch would make another run, or at one image.
    """
    batch = run.config.batch_size
    if epochs := len(fit.results.rows()):
        raise ValueError(
            f"out of memory in epoch {epochs}, which {epochs} epochs before did not meet: something else has taken "
            f"memory. The weights are kept; to go on: python train.py --resume {run.last}"
        )
    if (world := run.processes.world) > 1:  # the others have not met it
        raise ValueError(f"out of memory with --batch {batch} on {world} processes: choose a smaller one")
    if batch == 1:
        raise ValueError(f"out of memory with one image of {run.image_px} px: choose a smaller --imgsz or model")
    say(
        f"\nOut of memory with --batch {batch} in the first epoch: beginning again with {batch // 2} images a batch "
        f"and an optimiser step every {accumulation(batch // 2)} batches, so that a step sees as many images as before"
    )
    return replace(run.config, batch_size=batch // 2)


def _prepare(
    request: TrainRequest,
    interrupted: Interrupted | None,
    processes: Processes,
    alone: ExitStack,
    folder: Path | None,
) -> tuple[Run, DetectionModel]:
    """Build the model, read the labels and make the run folder, unless it is made already."""
    config, hyp, dataset = request.config, request.hyp, request.dataset
    say("Settings: " + ", ".join(f"{name}={value}" for name, value in config.to_dict().items()))
    device = processes.device
    precision = choose_precision(config.precision, device)
    say(
        "Hyperparameters: "
        + ", ".join(
            f"{name}={value if isinstance(value, str) else format(value, 'g')}" for name, value in hyp.to_dict().items()
        )
    )
    with processes.in_turns():
        dataset.drawn()  # on each machine
    if interrupted:
        model, report = model_from_checkpoint(interrupted.checkpoint), None
    else:
        model, report = create_model(request)
    start_epoch = interrupted.next_epoch if interrupted else 0
    frozen = freeze(model, config.freeze, only_inserted=start_epoch < config.thaw_after)
    stride_px = max(int(model.stride.max()), 32)
    image_px = training_px(config.imgsz, stride_px)
    wanted = config
    config = processes.from_main(lambda: _with_batch(wanted, processes, dataset, model, hyp, precision, image_px))
    request = replace(request, config=config)
    sizes = {"image_px": image_px, "stride_px": stride_px, "pin_memory": device.type == "cuda"}
    sizes["channels"] = model.channels
    train, val = create_loaders(request, processes, **sizes)
    if not interrupted and not config.noautoanchor:
        fit_anchors(model, train, image_px, hyp.anchor_t, config.seed)
    say(summary(model, image_px))
    if frozen.tensors:
        until = f" until epoch {config.thaw_after}" if start_epoch < config.thaw_after else ""
        say(f"{frozen}{until}")
    say(label_statistics(train, dataset.names, image_px))
    tell_of_mirrored_classes(hyp, dataset.names)
    model.to(device).to(memory_format=precision.memory_format).train()
    if folder is None:
        folder = processes.from_main(lambda: new_folder(config, alone))
    run = Run(config, hyp, folder, dataset.names, device, precision, image_px, train, val, processes)
    if interrupted:
        run.tell_of_other_data(interrupted.state.get("data", {}))
    processes.from_main(lambda: open_folder(run, model, report, new=not interrupted))
    where = ", ".join(map(str, dict.fromkeys(processes.devices)))
    together = f", {processes.world} processes on {processes.nodes} machine(s)" if processes.world > 1 else ""
    say(
        f"Device {where}{together}, {precision.reason}; {torch.get_num_threads()} threads, "
        f"{train.num_workers} loader workers"
    )
    say(f"Results go to {folder}")
    return run, model


def _with_batch(
    config: TrainConfig,
    processes: Processes,
    dataset: DatasetSpec,
    model: DetectionModel,
    hyp: Hyperparameters,
    precision: Precision,
    image_px: int,
) -> TrainConfig:
    """The settings, with what was found in the place of `--batch-size -1`: as much for each process."""
    if config.batch_size != -1:
        return config
    stride_px = max(int(model.stride.max()), 32)
    largest_px = whole_strides(-(-image_px * 3 // 2), stride_px) if config.multi_scale else image_px
    images = len(list_images(dataset.entries("train"), root=dataset.path))
    meter = Meter(model, hyp, processes.device, precision, largest_px)
    share = find_batch(meter, images, fp32_warmup=warms_up_in_fp32(config, precision))
    return replace(config, batch_size=share * processes.world)


def _with_fold(request: TrainRequest, alone: ExitStack) -> tuple[TrainRequest, Path]:
    """The run on one fold's images, and its folder, which holds the split."""
    config = request.config
    folder = new_folder(config, alone)
    file = write_fold(request.dataset, config.folds, config.fold, config.seed, folder)
    return replace(request, dataset=load_dataset_spec(file, single_cls=config.single_cls)), folder


def _finish(run: Run, fit: Fit) -> TrainResult:
    """Draw the curves, measure the best weights and strip the resume state from all of them.

    The state of last.pt goes when all else is done: a run that is killed before is finished by --resume.
    """
    if not run.config.noplots:
        plot_results(fit.results, run.folder / "results.png")
    weights = run.best if run.best.is_file() else run.last
    _strip(weights, run, fit)
    say(f"Validating {weights}")
    run.val.sampler.take_all()  # the other processes wait: what is drawn shows all images
    model = load_model(weights, run.device).to(memory_format=run.precision.memory_format)
    # In fp32, as val.py measures, so that the figures a run ends with are the ones val.py repeats.
    precision = replace(run.precision, dtype=torch.float32, reason="fp32: for the record")
    result = run.validate(model, gather=None, precision=precision, save_dir=run.folder, plots=not run.config.noplots)
    say(result.table())
    fit.logs.finish(weights)
    _strip(run.last, run, fit)
    say(f"Results are in {run.folder}")
    return TrainResult(run.config, run.folder, weights, result)


def _strip(file: Path, run: Run, fit: Fit) -> None:
    """Leave in a checkpoint what a finished run needs to be made longer."""
    if file.is_file() and "optimizer" in (checkpoint := read_checkpoint(file)).training:
        kept = {name: checkpoint.training[name] for name in TO_MAKE_LONGER if name in checkpoint.training}
        state = {**kept, "epochs_done": len(fit.results.rows()), **run.settings()}
        save_checkpoint(replace(checkpoint, training=state), file, half=True)
