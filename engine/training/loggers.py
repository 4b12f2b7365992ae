"""Where the figures of a run go besides results.csv: TensorBoard always, the services of `--logger` on request.

W&B, MLflow and Comet are reached through Lightning's loggers, ClearML through its own package, since Lightning has
none for it. TensorBoard's writer is torch's: Lightning's lays out folders of its own and writes a second file of
hyperparameters. Without MLFLOW_TRACKING_URI, MLflow keeps its file store in the run folder, so that nothing leaves the
machine. A log that fails while the run goes on is left alone from then on; the training never stops for it.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import lightning.pytorch as pl
import torch
import yaml

from data.dataset.label_scan import image_size
from engine.config.train_parser import require_loggers
from engine.runtime.console import first_line, say
from files.yaml_file import read_yaml
from models.weights.checkpoint import load_model

if TYPE_CHECKING:
    from lightning.pytorch.loggers.logger import Logger

    from engine.training.lightning_module import DetectionModule
    from engine.training.results_csv import ResultsFile
    from engine.training.run_record import Run

IDS = "loggers.yaml"  # by which name each service knows the run, so that a resumed run goes on there
FITNESS_COLUMN = "metrics/mAP_0.5:0.95"


class Log(Protocol):
    """A place for figures."""

    key: str | None  # by which the service finds the run again

    def settings(self, values: Mapping[str, Any]) -> None:
        """Take what the run is made with."""

    def figures(self, values: Mapping[str, float], epoch: int) -> None:
        """Take an epoch's figures."""

    def weights(self, path: str) -> None:
        """Take the place of the final weights."""

    def close(self, status: str) -> None:
        """End with success, failed or KILLED."""


class TensorBoardLog:
    """An event file in the run folder, with the settings for the HPARAMS tab.

    Args:
        folder: The run folder.
        start_epoch: Figures of this epoch and later ones that lie in the folder are no longer shown.
    """

    key: str | None = None

    def __init__(self, folder: Path, start_epoch: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=start_epoch or None)

    def settings(self, values: Mapping[str, Any]) -> None:
        """Write them where the HPARAMS tab looks, beside the run's mAP."""
        from torch.utils.tensorboard.summary import hparams

        plain = {name: v if isinstance(v, (bool, int, float)) else str(v) for name, v in values.items()}
        events = self.writer.file_writer
        assert events is not None  # open until `close`
        for part in hparams(plain, {FITNESS_COLUMN: math.nan}):
            events.add_summary(part)

    def figures(self, values: Mapping[str, float], epoch: int) -> None:
        """Write them to disk at once."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, epoch)
        self.writer.flush()

    def weights(self, path: str) -> None:
        """Write the path as text."""
        self.writer.add_text("weights", path)

    def pictures(self, folder: Path) -> None:
        """Write the run's mosaics and plots, the files as they are: to encode them anew takes seconds."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]  (generated)

        events = self.writer.file_writer
        assert events is not None  # open until `close`
        for file in sorted(one for one in folder.iterdir() if one.suffix in (".jpg", ".png")):
            try:
                width, height = image_size(str(file))
            except ValueError:  # something of the user's; the others are still worth a look
                continue
            image = Summary.Image(width=width, height=height, colorspace=3, encoded_image_string=file.read_bytes())
            events.add_summary(Summary(value=[Summary.Value(tag=file.stem, image=image)]))

    def graph(self, weights: Path) -> None:
        """Write the network's graph, of a copy that is read from its file."""
        model = load_model(weights).eval()
        image = torch.zeros(1, model.channels, 2 * model.stride_px, 2 * model.stride_px)
        with warnings.catch_warnings():  # tracing speaks of every size that it takes for fixed
            warnings.simplefilter("ignore")
            self.writer.add_graph(model, image)

    def close(self, status: str) -> None:
        """Close the file, whatever the status."""
        self.writer.close()


class LightningLog:
    """One of Lightning's loggers.

    Args:
        logger: Any of them.
        key: The run's name at the service.
        colon: What stands for the colon in the names of figures, where the service has none.
    """

    def __init__(self, logger: Logger, key: str | None, colon: str = ":") -> None:
        self.logger, self.key, self.colon = logger, key, colon

    def settings(self, values: Mapping[str, Any]) -> None:
        """Log as hyperparameters."""
        self.logger.log_hyperparams(dict(values))

    def figures(self, values: Mapping[str, float], epoch: int) -> None:
        """Log as metrics of the step `epoch`."""
        self.logger.log_metrics({name.replace(":", self.colon): value for name, value in values.items()}, step=epoch)

    def weights(self, path: str) -> None:
        """Log as a hyperparameter more."""
        self.logger.log_hyperparams({"best_weights": path})

    def close(self, status: str) -> None:
        """End the run at the service."""
        self.logger.finalize(status)


class ClearMLLog:
    """A task of ClearML; the package's own watching of the command line and of torch stays off.

    Args:
        project: Project at the server.
        name: Name of the task.
        key: The task to go on with, None for a new one.
    """

    def __init__(self, project: str, name: str, key: str | None) -> None:
        from clearml import Task  # pyright: ignore[reportMissingImports]  (optional)

        off = {"auto_connect_arg_parser": False, "auto_connect_frameworks": False, "auto_resource_monitoring": False}
        self.task = Task.init(project, name, continue_last_task=key or False, reuse_last_task_id=False, **off)
        self.key = self.task.id

    def settings(self, values: Mapping[str, Any]) -> None:
        """Log as the task's parameters."""
        self.task.connect(dict(values))

    def figures(self, values: Mapping[str, float], epoch: int) -> None:
        """Log each as a scalar, `train/box_loss` as the series `box_loss` of the plot `train`."""
        for name, value in values.items():
            title, series = name.split("/", 1)
            self.task.get_logger().report_scalar(title, series, value, epoch)

    def weights(self, path: str) -> None:
        """Log as a parameter more; the file stays where it is."""
        self.task.connect({"best_weights": path}, name="Result")

    def close(self, status: str) -> None:
        """Say how the task ended."""
        if status != "success":
            self.task.mark_failed(status_reason=status)
        self.task.close()


def _open_wandb(run: Run, key: str | None) -> Log:
    from lightning.pytorch.loggers import WandbLogger

    project = Path(run.config.project).name
    options: dict[str, Any] = {"entity": run.config.entity} if run.config.entity else {}
    logger = WandbLogger(name=run.folder.name, project=project, save_dir=run.folder, version=key, **options)
    return LightningLog(logger, logger.experiment.id)


def _open_mlflow(run: Run, key: str | None) -> Log:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when the package is first imported
    from lightning.pytorch.loggers import MLFlowLogger

    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        uri = (run.folder.resolve() / "mlruns").as_uri()
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions refuse the file store without it
    logger = MLFlowLogger(Path(run.config.project).name, run.folder.name, tracking_uri=uri, run_id=key)
    return LightningLog(logger, logger.run_id, colon="-")


def _open_comet(run: Run, key: str | None) -> Log:
    from lightning.pytorch.loggers import CometLogger

    project, workspace = Path(run.config.project).name, run.config.entity or None
    mode = "get" if key else "create"
    logger = CometLogger(workspace=workspace, project=project, experiment_key=key, mode=mode, name=run.folder.name)
    return LightningLog(logger, logger.experiment.get_key())


def _open_clearml(run: Run, key: str | None) -> Log:
    return ClearMLLog(Path(run.config.project).name, run.folder.name, key)


OPEN: Mapping[str, Callable[[Run, str | None], Log]] = {
    "wandb": _open_wandb,
    "mlflow": _open_mlflow,
    "comet": _open_comet,
    "clearml": _open_clearml,
}


class LogFigures(pl.Callback):
    """Gives each row of results.csv, the settings and the final weights' path to TensorBoard and the services.

    Stands behind the callback that writes the rows.

    Args:
        run: The run.
        results: The file whose last row is logged.
        start_epoch: The first epoch that is trained; above 0 the runs at the services go on.
    """

    def __init__(self, run: Run, results: ResultsFile, start_epoch: int) -> None:
        self.run, self.results, self.start_epoch = run, results, start_epoch
        self.logs: dict[str, Log] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: DetectionModule) -> None:
        """Reach the services, so that what is wrong with them shows before the first epoch.

        Raises:
            ValueError: If a package is missing or a service cannot be reached. A resumed run, whose settings cannot be
                changed, goes on without it.
        """
        if not trainer.is_global_zero:
            return
        file = self.run.folder / IDS
        known = read_yaml(file) if self.start_epoch and file.is_file() else {}
        for name in self.run.config.logger:
            try:
                require_loggers([name])
                self.logs[name] = OPEN[name](self.run, known.get(name))
            except Exception as error:  # each service raises kinds of its own
                if not self.start_epoch:
                    raise ValueError(f"--logger {name}: it cannot be started: {first_line(error)}") from error
                self._give_up(name, error)
        keys = {name: log.key for name, log in self.logs.items()}
        if keys:
            file.write_text(yaml.safe_dump({**known, **keys}), encoding="utf-8")
            say("Logging to " + ", ".join(f"{name} (run {key})" for name, key in keys.items()))
        self._each(lambda log: log.settings(self._settings()), [name for name in keys if name not in known])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: DetectionModule) -> None:
        """Log the epoch's row."""
        if not trainer.is_global_zero:
            return
        row = self.results.rows()[-1]
        epoch = int(row.pop("epoch"))
        if epoch == self.start_epoch:  # its import takes a while: not before the first step
            self._open_tensorboard()
        measured = {name: value for name, value in row.items() if math.isfinite(value)}
        self._each(lambda log: log.figures(measured, epoch))

    def on_exception(self, trainer: pl.Trainer, pl_module: DetectionModule, exception: BaseException) -> None:
        """Say at the services that the run has ended early."""
        stopped = isinstance(exception, (KeyboardInterrupt, SystemExit))  # Ctrl-C, SIGTERM
        status = "KILLED" if stopped else "failed"
        self._each(lambda log: log.close(status))
        self.logs.clear()

    def finish(self, weights: Path) -> None:
        """Log where the final weights are, and end."""
        self._each(lambda log: log.weights(str(weights.resolve())))
        if not self.run.config.noplots:
            self._to_tensorboard(lambda log: log.pictures(self.run.folder))
            self._to_tensorboard(lambda log: log.graph(weights))
        self._each(lambda log: log.close("success"))
        self.logs.clear()

    def _open_tensorboard(self) -> None:
        try:
            self.logs["tensorboard"] = TensorBoardLog(self.run.folder, self.start_epoch)
        except (ImportError, OSError) as error:
            self._give_up("tensorboard", error)
        if not self.start_epoch:
            self._each(lambda log: log.settings(self._settings()), ["tensorboard"])

    def _to_tensorboard(self, action: Callable[[TensorBoardLog], None]) -> None:
        """Show what no service takes; where that fails the figures are there still."""
        log = self.logs.get("tensorboard")
        if isinstance(log, TensorBoardLog):
            try:
                action(log)
            except Exception as error:  # noqa: BLE001  (torch's tracing raises kinds of its own)
                say(f"WARNING: tensorboard lacks a part of this run ({first_line(error)}); the run folder has it")

    def _settings(self) -> dict[str, Any]:
        return {**self.run.config.to_dict(), **self.run.hyp.to_dict()}

    def _each(self, action: Callable[[Log], None], names: Sequence[str] | None = None) -> None:
        """Do something with the logs; one that fails is left alone from then on."""
        for name in [name for name in self.logs if names is None or name in names]:
            try:
                action(self.logs[name])
            except Exception as error:  # noqa: BLE001  (each service raises kinds of its own)
                del self.logs[name]
                self._give_up(name, error)

    def _give_up(self, name: str, error: Exception) -> None:
        say(f"WARNING: {name} takes no more figures of this run ({first_line(error)}); results.csv has them all")
