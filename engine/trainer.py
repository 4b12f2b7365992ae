"""Train a detector: put the parts together, let Lightning run the loop, finish the run folder."""

from __future__ import annotations

import logging
import signal
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
import yaml

from data.dataset import load_dataset_spec
from data.hyp import Hyperparameters, load_hyp
from engine.callbacks import Best, DrawTrainBatches, SaveWeights, ValidateEpoch, early_stopping
from engine.cli import new_run_folder
from engine.device import Precision, choose_precision, select_device
from engine.ema import ModelEMA
from engine.evaluator import EvalResult, evaluate
from engine.module import DetectionModule
from engine.optimizer import Schedule, accumulation, create_optimizer, scaled_decay
from engine.plots import plot_labels, plot_results
from engine.progress import Progress, clock, say
from engine.results import ResultsFile
from engine.resume import Interrupted, find_interrupted
from engine.setup import (
    create_model,
    fit_anchors,
    freeze_rows,
    image_size,
    label_statistics,
    summary,
    train_loader,
    val_loader,
)
from engine.train_config import ResumeRequest, TrainConfig
from models.checkpoint import load_model, model_from_checkpoint, read_checkpoint, save_model
from models.loss import DetectionLoss

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from models.yolo import DetectionModel

LIGHTNING_PRECISION = {torch.float32: "32-true", torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}


@dataclass(frozen=True)
class Run:
    """The parts of a training run that do not change while it trains."""

    config: TrainConfig
    hyp: Hyperparameters
    folder: Path
    names: Mapping[int, str]
    device: torch.device
    precision: Precision
    image_px: int
    train: DataLoader
    val: DataLoader

    @property
    def last(self) -> Path:
        """The weights of the last epoch."""
        return self.folder / "weights" / "last.pt"

    @property
    def best(self) -> Path:
        """The weights of the best epoch."""
        return self.folder / "weights" / "best.pt"

    def settings(self) -> dict[str, Any]:
        """Plain data that goes into every checkpoint."""
        return {"config": self.config.to_dict(), "hyp": self.hyp.to_dict()}

    def validate(self, model: DetectionModel, **options: Any) -> EvalResult:  # noqa: ANN401  (evaluate's own)
        """Measure a model on the validation split."""
        single_cls = self.config.single_cls
        fixed = {"names": self.names, "device": self.device, "precision": self.precision, "single_cls": single_cls}
        return evaluate(model, self.val, **fixed, **options)


@dataclass(frozen=True)
class TrainResult:
    """What a finished run leaves."""

    folder: Path
    weights: Path  # the best
    evaluation: EvalResult  # of those weights on the validation split


def train(request: TrainConfig | ResumeRequest) -> TrainResult:
    """Train as configured, or go on with an interrupted run.

    Raises:
        ValueError: If a file or a setting is wrong, or the loss is no longer a number.
        KeyboardInterrupt: After Ctrl-C; the last full epoch's weights are saved.
    """
    interrupted = find_interrupted(request) if isinstance(request, ResumeRequest) else None
    config = interrupted.config if interrupted else request
    started = time.perf_counter()
    run, model = _prepare(config, interrupted)
    fit = _Fit.create(run, model, interrupted)
    if not fit.finished:
        fit.run_epochs()
    say(f"\nTraining took {clock(time.perf_counter() - started)}")
    return _finish(run, fit)


def _prepare(config: TrainConfig, interrupted: Interrupted | None) -> tuple[Run, DetectionModel]:
    """Read the data, build the model and make the run folder."""
    say("Settings: " + ", ".join(f"{name}={value}" for name, value in config.to_dict().items()))
    device = select_device(config.device)
    precision = choose_precision(config.precision, device)
    hyp = Hyperparameters.from_dict(interrupted.state["hyp"]) if interrupted else load_hyp(config.hyp)
    say("Hyperparameters: " + ", ".join(f"{name}={value:g}" for name, value in hyp.to_dict().items()))
    dataset = load_dataset_spec(config.data, single_cls=config.single_cls)
    model = model_from_checkpoint(interrupted.checkpoint) if interrupted else create_model(config, dataset, hyp)
    frozen = freeze_rows(model, config.frozen_rows)
    stride_px = max(int(model.stride.max()), 32)
    image_px = image_size(config.imgsz, stride_px)
    train, val = (
        train_loader(config, dataset, hyp, image_px, stride_px),
        val_loader(config, dataset, image_px, stride_px),
    )
    if not interrupted and not config.noautoanchor:
        fit_anchors(model, train, image_px, hyp.anchor_t, config.seed)
    say(summary(model, image_px) + (f", {frozen} tensors frozen" if frozen else ""))
    say(label_statistics(train, dataset.names, image_px))
    model.to(device=device, memory_format=precision.memory_format).train()
    folder = interrupted.run_folder if interrupted else _new_folder(config)
    run = Run(config, hyp, folder, dataset.names, device, precision, image_px, train, val)
    if not interrupted:
        _describe_run(run, model)
    say(f"Device {device}, {precision.reason}; {torch.get_num_threads()} threads, {train.num_workers} loader workers")
    say(f"Results go to {folder}")
    return run, model


def _new_folder(config: TrainConfig) -> Path:
    folder = new_run_folder(config.project, config.name, exist_ok=config.exist_ok)
    ResultsFile(folder / "results.csv").path.unlink(missing_ok=True)  # of the run that --exist-ok replaces
    return folder


def _describe_run(run: Run, model: DetectionModel) -> None:
    """Write what the run is made of: opt.yaml, hyp.yaml and, with pictures, labels.jpg."""
    options = {**run.config.to_dict(), "save_dir": str(run.folder)}
    for name, values in (("opt", options), ("hyp", run.hyp.to_dict())):
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        (run.folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    labels = run.train.dataset.labels
    if not run.config.noplots and sum(map(len, labels)):
        plot_labels(np.concatenate(labels), run.names, run.folder / "labels.jpg")


class _Fit:
    """The loop's parts, wired to a run."""

    def __init__(self, run: Run, module: DetectionModule, start_epoch: int, best: Best) -> None:
        config = run.config
        self.run, self.module, self.start_epoch, self.best = run, module, start_epoch, best
        self.results = ResultsFile(run.folder / "results.csv")
        self.progress = Progress(config.epochs, len(run.train))
        self.stopping = None if config.noval else early_stopping(config.patience)

    @classmethod
    def create(cls, run: Run, model: DetectionModel, interrupted: Interrupted | None) -> _Fit:
        config, hyp = run.config, run.hyp
        ema = ModelEMA(model)
        if interrupted:
            model.load_state_dict(interrupted.state["model"])  # until here it held the average
            ema.updates = int(interrupted.state["ema_updates"])
        decay = scaled_decay(hyp.weight_decay, config.batch_size)
        optimizer = create_optimizer(model, config.optimizer, lr=hyp.lr0, momentum=hyp.momentum, weight_decay=decay)
        say(
            f"{config.optimizer}: lr {hyp.lr0:g}, weight decay {decay:g} on "
            f"{len(optimizer.param_groups[1]['params'])} tensors, none on {len(optimizer.param_groups[0]['params'])} "
            f"biases and {len(optimizer.param_groups[2]['params'])} norms; a step every "
            f"{accumulation(config.batch_size)} batches after warm-up"
        )
        loss = DetectionLoss(model.detect, hyp, image_px=run.image_px, label_smoothing=config.label_smoothing)
        options = {"precision": run.precision, "image_px": run.image_px, "multi_scale": config.multi_scale}
        module = DetectionModule(model, loss, ema, optimizer, _schedule(run), seed=config.seed, **options)
        fit = cls(run, module, interrupted.next_epoch if interrupted else 0, Best())
        if interrupted:
            fit.restore(interrupted.state)
        return fit

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over where the interrupted run saved."""
        self.module.optimizer.load_state_dict(state["optimizer"])
        self.module.last_update_step = int(state["last_update_step"])
        self.best.fitness, self.best.epoch = float(state["best_fitness"]), int(state["best_epoch"])
        if self.stopping and state["early_stopping"]:
            self.stopping.load_state_dict(state["early_stopping"])
        self.results.keep_until(int(state["epoch"]))
        say(f"Resuming {self.run.folder} at epoch {self.start_epoch} of {self.run.config.epochs}")

    @property
    def finished(self) -> bool:
        """Whether no epoch is left to do, because all are done or the run had stopped early."""
        stopped = self.stopping is not None and self.stopping.wait_count >= self.stopping.patience
        return stopped or self.start_epoch >= self.run.config.epochs

    def run_epochs(self) -> None:
        """Let Lightning run the remaining epochs."""
        config, run = self.run.config, self.run
        say(
            f"Training for {config.epochs} epochs at {run.image_px} px, {len(run.train)} batches of {config.batch_size}"
        )
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        trainer = self._trainer()
        trainer.fit_loop.epoch_progress.current.processed = self.start_epoch
        trainer.fit_loop.epoch_progress.current.completed = self.start_epoch
        interrupt = signal.getsignal(signal.SIGINT)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="lightning")  # advice for its own loaders and loggers
                trainer.fit(self.module, run.train)
        except SystemExit:
            if not trainer.interrupted:
                raise
            signal.signal(signal.SIGINT, interrupt)  # Lightning ignores further ones
            self._say_interrupted()
            raise KeyboardInterrupt from None
        if self.stopping and self.stopping.stopped_epoch:
            say(
                f"Stopped early: no better fitness in the last {config.patience} epochs; the best was epoch "
                f"{self.best.epoch}. --patience sets the number, 0 turns it off"
            )

    def _trainer(self) -> pl.Trainer:
        run, config = self.run, self.run.config
        return pl.Trainer(
            accelerator={"cpu": "cpu", "cuda": "gpu", "mps": "mps"}[run.device.type],
            devices=[run.device.index] if run.device.type == "cuda" else 1,
            precision=LIGHTNING_PRECISION[run.precision.dtype],
            max_epochs=config.epochs,
            callbacks=self._callbacks(),
            logger=False,
            enable_checkpointing=True,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=run.folder,
        )

    def _callbacks(self) -> list[pl.Callback]:
        run, config = self.run, self.run.config

        def validate(model: DetectionModel) -> EvalResult:
            return run.validate(model, loss=self.module.loss)

        measured = {"epochs": config.epochs, "only_last": config.noval}
        saved = {"epochs": config.epochs, "only_last": config.nosave, "period": config.save_period}
        callbacks: list[pl.Callback] = [
            self.progress,
            ValidateEpoch(validate, self.results, self.best, self.progress, **measured),
            SaveWeights(run.last.parent, self.best, run.settings(), stopping=self.stopping, **saved),
        ]
        if not config.noplots:
            callbacks.append(DrawTrainBatches(run.folder, run.names))
        return [*callbacks, self.stopping] if self.stopping else callbacks

    def _say_interrupted(self) -> None:
        epoch, last = self.module.current_epoch, self.run.last
        if last.is_file():
            say(f"\nInterrupted in epoch {epoch}; to go on after the last full one: python train.py --resume {last}")
        else:
            say(f"\nInterrupted in epoch {epoch}, before the first weights were saved")


def _schedule(run: Run) -> Schedule:
    config, hyp = run.config, run.hyp
    names = ("lr0", "lrf", "momentum", "warmup_epochs", "warmup_momentum", "warmup_bias_lr")
    values = {name: getattr(hyp, name) for name in names}
    return Schedule(config.epochs, len(run.train), config.batch_size, cosine=config.cos_lr, **values)


def _finish(run: Run, fit: _Fit) -> TrainResult:
    """Strip the resume state from the weights, measure the best ones and draw the curves."""
    if not run.config.noplots:
        plot_results(fit.results, run.folder / "results.png")
    done = len(fit.results.rows())
    for file in (run.last, run.best):
        if file.is_file() and "optimizer" in (checkpoint := read_checkpoint(file)).training:
            state = {"epoch": checkpoint.training["epoch"], "epochs_done": done, **run.settings()}
            save_model(model_from_checkpoint(checkpoint), file, half=True, training=state)
    weights = run.best if run.best.is_file() else run.last
    say(f"Validating {weights}")
    model = load_model(weights, run.device).to(memory_format=run.precision.memory_format)
    result = run.validate(model, save_dir=run.folder, plots=not run.config.noplots)
    say(result.table())
    say(f"Results are in {run.folder}")
    return TrainResult(run.folder, weights, result)
