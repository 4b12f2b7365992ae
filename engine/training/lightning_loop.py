"""The training loop of a run: its module and callbacks, handed to Lightning, and what a resumed run takes over."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import lightning.pytorch as pl
import torch

from engine.runtime.console import say
from engine.training.best_epoch import Best
from engine.training.callbacks import (
    CountUnreadable,
    DrawTrainBatches,
    JoinStatistics,
    KeepSignals,
    SaveWeights,
    Thaw,
    ValidateEpoch,
    early_stopping,
)
from engine.training.class_balance import WeightImages, class_weights
from engine.training.compiled_forward import CompiledForward
from engine.training.lightning_module import DetectionModule
from engine.training.loggers import LogFigures
from engine.training.loss_and_memory_recovery import OutOfMemory, is_out_of_memory
from engine.training.optimizer_and_schedule import (
    BIAS,
    DECAYED,
    NORM,
    Schedule,
    accumulation,
    create_optimizer,
    scaled_decay,
)
from engine.training.progress_bar import Progress
from engine.training.results_csv import ResultsFile
from engine.training.weight_average import ModelEMA
from files.signals import signals_as_ctrl_c
from models.blocks.batch_norm import join_batch_norms
from models.loss import DetectionLoss

if TYPE_CHECKING:
    from engine.config.train_config import TrainConfig
    from engine.runtime.device import Precision
    from engine.training.resume import Interrupted
    from engine.training.run_record import Run
    from engine.validation.result_table import EvalResult
    from models.yolo import DetectionModel

LIGHTNING_PRECISION: Mapping[torch.dtype, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    torch.float32: "32-true",
    torch.bfloat16: "bf16-mixed",
    torch.float16: "16-mixed",
}


class Fit:
    """The loop's parts, wired to a run.

    Args:
        run: The run.
        model: On its device, in its memory format; an interrupted run's average where there is one.
        interrupted: The run to continue.
    """

    def __init__(self, run: Run, model: DetectionModel, interrupted: Interrupted | None = None) -> None:
        config = run.config
        self.run = run
        self.start_epoch = interrupted.next_epoch if interrupted else 0
        self.scaler: Mapping[str, Any] = interrupted.state.get("scaler", {}) if interrupted else {}
        self.best = Best()
        self.results = ResultsFile(run.folder / "results.csv")
        self.logs = LogFigures(run, self.results, self.start_epoch)
        terminal = None if run.processes.main else False
        self.progress = Progress(config.epochs, len(run.train), terminal=terminal, processes=run.processes.world)
        self.stopping = None if config.noval else early_stopping(config.patience)
        ema = ModelEMA(model)
        if config.sync_bn and run.processes.world == 1:
            say("--sync-bn changes nothing: one process has all images of a batch")
        elif config.sync_bn and run.device.type == "cpu":
            join_batch_norms(model)
        if interrupted and "model" in interrupted.state:
            model.load_state_dict(interrupted.state["model"])
        self.module = create_module(run, model, ema)
        if run.processes.main:
            for unfinished in run.last.parent.glob(".*.pt.*"):  # what a killed run was writing
                unfinished.unlink()
        if interrupted:
            self._take_over(interrupted.state)

    def _take_over(self, state: Mapping[str, Any]) -> None:
        """Go on where the run saved; a finished one from its average, with a fresh optimiser and patience."""
        if "optimizer" in state:
            self.module.optimizer.load_state_dict(state["optimizer"])
        self.module.ema.updates = int(state["ema_updates"])
        self.module.last_update_step = int(state["last_update_step"])
        self.best.fitness, self.best.epoch = float(state["best_fitness"]), int(state["best_epoch"])
        if self.stopping and state.get("early_stopping"):
            self.stopping.load_state_dict(state["early_stopping"])
        self.best.class_ap = state.get("class_ap", ())
        if self.run.processes.main:
            self.results.keep_until(int(state["epoch"]))
        what = "Resuming" if "optimizer" in state else "Finished, now longer, from the averaged weights:"
        say(f"{what} {self.run.folder} at epoch {self.start_epoch} of {self.run.config.epochs}")

    @property
    def finished(self) -> bool:
        """Whether no epoch is left to do, because all are done or the run had stopped early."""
        stopped = self.stopping is not None and self.stopping.wait_count >= self.stopping.patience
        return stopped or self.start_epoch >= self.run.config.epochs

    def run_epochs(self) -> None:
        """Let Lightning run the remaining epochs.

        Raises:
            ValueError: If the loss is no longer a number.
            OutOfMemory: If a batch does not fit.
            KeyboardInterrupt: After Ctrl-C or SIGTERM; the last full epoch's weights are saved.
        """
        config, run = self.run.config, self.run
        say(
            f"Training for {config.epochs} epochs at {run.image_px} px, {len(run.train)} batches of {config.batch_size}"
        )
        with quiet_lightning():
            trainer = self._trainer()
        current: Any = trainer.fit_loop.epoch_progress.current  # a tracker with more than its declared class has
        current.processed = current.completed = self.start_epoch
        if self.scaler:
            trainer.precision_plugin.load_state_dict(dict(self.scaler))
        try:
            with signals_as_ctrl_c(), quiet_lightning():
                trainer.fit(self.module, run.train)
        except SystemExit as stop:  # what Lightning makes of Ctrl-C, and of what is handled like it
            if not trainer.interrupted:
                raise
            self._say_interrupted()
            raise (stop.__context__ or KeyboardInterrupt) from None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory from None
        if self.stopping and self.stopping.stopped_epoch:
            say(
                f"Stopped early: no better fitness in the last {config.patience} epochs; the best was epoch "
                f"{self.best.epoch}. --patience sets the number, 0 turns it off"
            )

    def _trainer(self) -> pl.Trainer:
        run = self.run
        return pl.Trainer(
            **run.processes.trainer_options(run.config.sync_bn),
            precision=LIGHTNING_PRECISION[run.precision.dtype],
            max_epochs=run.config.epochs,
            callbacks=self._callbacks(),
            logger=False,
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
            KeepSignals(),
            self.progress,
            JoinStatistics(run.processes),
            ValidateEpoch(validate, self.results, self.best, self.progress, **measured),
            self.logs,
            CountUnreadable(run.train.dataset),
            SaveWeights(run.last.parent, self.best, run.settings(), stopping=self.stopping, **saved),
        ]
        if config.image_weights:
            callbacks.append(WeightImages(run.train, len(run.names), self.best))
        if config.thaw_after:
            callbacks.append(Thaw(config.thaw_after, config.freeze))
        if not config.noplots and run.processes.main:
            callbacks.append(DrawTrainBatches(run.folder, run.names))
        return [*callbacks, self.stopping] if self.stopping else callbacks

    def _say_interrupted(self) -> None:
        epoch, last = self.module.current_epoch, self.run.last
        if last.is_file():
            say(f"\nInterrupted in epoch {epoch}; to go on after the last full one: python train.py --resume {last}")
        else:
            say(f"\nInterrupted in epoch {epoch}, before the first weights were saved")


def create_module(run: Run, model: DetectionModel, ema: ModelEMA) -> DetectionModule:
    """The training module of a run, with its loss, optimiser and schedule; says what the optimiser does."""
    config, hyp = run.config, run.hyp
    decay = scaled_decay(hyp.weight_decay, config.batch_size)
    optimizer = create_optimizer(model, config.optimizer, lr=hyp.lr0, momentum=hyp.momentum, weight_decay=decay)
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    say(
        f"{config.optimizer}: lr {hyp.lr0:g}, weight decay {decay:g} on {sizes[DECAYED]} tensors, none on "
        f"{sizes[BIAS]} biases and {sizes[NORM]} norms; a step every {accumulation(config.batch_size)} batches "
        "after warm-up"
    )
    names = ("lr0", "lrf", "momentum", "warmup_epochs", "warmup_momentum", "warmup_bias_lr")
    rates = {name: getattr(hyp, name) for name in names}
    schedule = Schedule(config.epochs, len(run.train), config.batch_size, cosine=config.cos_lr, **rates)
    return DetectionModule(
        model,
        create_loss(run, model),
        ema,
        optimizer,
        schedule,
        precision=run.precision,
        image_px=run.image_px,
        multi_scale=config.multi_scale,
        quad=config.quad,
        seed=config.seed,
        fp32_steps=_fp32_steps(run, schedule),
        processes=run.processes,
        compiled=CompiledForward(model, _batch_shape(run)) if config.compiles else None,
    )


def _batch_shape(run: Run) -> tuple[int, int, int, int]:
    """(B, C, H, W) of every batch of this process but perhaps the last of an epoch."""
    return run.train.batch_size, run.train.dataset.channels, run.image_px, run.image_px


def create_loss(run: Run, model: DetectionModel) -> DetectionLoss:
    """The loss of a run; says what the classes weigh where they do not weigh the same."""
    config, weights = run.config, None
    if config.class_weights:
        weights = class_weights(run.train.dataset.labels, len(run.names), config.class_weights).tolist()
        say("Class weights: " + ", ".join(f"{run.names[i]} {weight:.3g}" for i, weight in enumerate(weights)))
    smoothing = config.label_smoothing
    return DetectionLoss(model.detect, run.hyp, image_px=run.image_px, label_smoothing=smoothing, class_weights=weights)


def warms_up_in_fp32(config: TrainConfig, precision: Precision) -> bool:
    """Whether a run in bf16 begins in fp32."""
    return config.precision == "auto" and precision.dtype is torch.bfloat16 and not config.weights


def _fp32_steps(run: Run, schedule: Schedule) -> int:
    """How many batches of a run in bf16 are computed in fp32 all the same: the warm-up of random weights.

    At the start of a YOLOv5n each rounding grows from layer to layer: bf16 gradients have a cosine of 0.65 to 0.9 with
    the true ones. After the warm-up, and with pretrained weights, it is above 0.99.
    """
    if not warms_up_in_fp32(run.config, run.precision):
        return 0
    steps = schedule.warmup_steps
    say(f"The warm-up, {steps} batches, in fp32: bf16 would round away much of the gradient of random weights")
    return steps


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Without Lightning's advice on loaders and loggers; puts its log level and the handling of Ctrl-C back."""
    log = logging.getLogger("lightning.pytorch")
    level, interrupt = log.level, signal.getsignal(signal.SIGINT)
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        log.setLevel(level)
        signal.signal(signal.SIGINT, interrupt)  # after Ctrl-C Lightning leaves further ones ignored
