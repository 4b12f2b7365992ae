"""What `train.py` is asked to do: a run to start, one to go on with, or a search. Imports no torch without need.

The files that a command line names are read here, once; whoever trains is handed what they hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec as find_package
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.dataset.dataset_yaml import DatasetSpec, read_dataset_spec
from data.hyp import LOSSES, Hyperparameters, find_hyp, load_hyp
from engine.config.files import module_files
from engine.config.flags import given_names, settings
from engine.config.train_config import DEFAULT_HYP, TrainConfig
from engine.config.train_parser import SAMPLERS, create_parser, require_loggers
from engine.runtime.console import note, say
from engine.runtime.launcher import check_local_rank, place
from files.disk import require_writable
from models.model_yaml import find_spec, load_spec
from models.spec.model_spec import ModelSpec
from models.weights.download import find_weights, stock_at_hand

if TYPE_CHECKING:
    from models.insertion.places import Insertion

RESUME_KEEPS = ("device", "workers", "epochs", "module")  # what may be given beside --resume


@dataclass(frozen=True)
class TrainRequest:
    """A run to start: its settings, and what the files named there hold.

    Attributes:
        config: The settings.
        hyp: The hyperparameters.
        dataset: The data set.
        attention: What to insert.
        spec: The model to build; None where it is the one inside the weights, see `complete`.
    """

    config: TrainConfig
    hyp: Hyperparameters
    dataset: DatasetSpec
    attention: tuple[Insertion, ...] = ()
    spec: ModelSpec | None = None

    def complete(self, spec: ModelSpec) -> ModelSpec:
        """The model to build from one that was read: for the data set's classes, with the attention asked for.

        Raises:
            ValueError: If the attention does not fit, or the anchors can neither be read nor searched.
        """
        if spec.nc != self.dataset.nc:
            spec = spec.with_classes(self.dataset.nc)
        if self.hyp.anchors:
            spec = replace(spec, anchors=round(self.hyp.anchors))
        if self.config.noautoanchor and isinstance(spec.anchors, int):
            raise ValueError(
                "--noautoanchor: the model has only a number of anchors, so they must be searched; leave it out"
            )
        if self.attention:
            from models.insertion.insert import insert  # with torch

            spec = insert(spec, self.attention, start=self.config.attention_start)
        return spec


def read_request(config: TrainConfig) -> TrainRequest:
    """Read the files of a run that is to be started, but for the weights, which are found and not opened.

    Raises:
        ValueError: If one is missing or wrong, or the attention asked for does not fit the model.
    """
    if config.module:
        from models.user_modules import load_modules  # with torch

        load_modules(config.module)
    insertions: tuple[Insertion, ...] = ()
    if config.attention:
        from models.insertion.places import parse_request  # with torch

        insertions = tuple(map(parse_request, config.attention))
    spec = load_spec(config.cfg) if config.cfg else None
    dataset = read_dataset_spec(config.data, single_cls=config.single_cls)
    if not config.hyp:
        config = replace(config, hyp=str(find_hyp(dataset.hyp or DEFAULT_HYP).resolve()))
        if dataset.hyp:
            say(f"Hyperparameters from {dataset.hyp}, as {dataset.file.name} says; --hyp takes others")
    losses = {name: value for name in LOSSES if (value := getattr(config, name))}
    request = TrainRequest(config, replace(load_hyp(config.hyp), **losses), dataset, insertions)
    if spec is not None:
        request = replace(request, spec=request.complete(spec))
    weights = str(find_weights(config.weights).resolve()) if config.weights else ""
    dataset.drawn()  # last, because it may take long
    return replace(request, config=replace(config, data=str(dataset.file), weights=weights))


@dataclass(frozen=True)
class EvolveRequest:
    """`--evolve`: a number of runs with the same settings and hyperparameters drawn for each, in one folder.

    Attributes:
        config: The settings of every run.
        trials: The number of runs.
        hyp: The hyperparameters of the first.
        sampler: Of `SAMPLERS`: where those of the others come from.

    Raises:
        ValueError: If a value is out of range or a setting cannot be one of several runs.
    """

    config: TrainConfig
    trials: int
    hyp: Hyperparameters | None = None
    sampler: str = SAMPLERS[0]

    def __post_init__(self) -> None:
        if place().launcher:
            raise ValueError("--evolve: start it as it is, without a launcher; --device 0,1 gives each trial two GPUs")
        if self.trials < 1:
            raise ValueError(f"--evolve {self.trials}: expected at least 1 trial")
        if self.config.batch_size == -1:
            raise ValueError("--batch-size -1: the trials of --evolve need the same batch; give a number")
        if find_package("optuna") is None:
            raise ValueError("--evolve: the package optuna is not installed; pip install optuna")


@dataclass(frozen=True)
class ResumeRequest:
    """`--resume`: a checkpoint, or None for the newest interrupted run below `project`.

    `device`, `workers` and `epochs` replace the run's own where they are given; more epochs than before go on with a
    finished run too. Files of `module` are run because they stand here, never because the run had them.
    """

    checkpoint: Path | None
    project: Path
    device: str | None = None
    workers: int | None = None
    epochs: int | None = None
    module: tuple[str, ...] = ()

    def apply(self, config: TrainConfig) -> TrainConfig:
        """The run's settings with what was given beside `--resume`."""
        given = {"device": self.device, "workers": self.workers, "epochs": self.epochs}
        return replace(
            config, **{name: value for name, value in given.items() if value is not None}, module=self.module
        )


def parse_train_args(
    argv: Sequence[str] | None = None,
) -> TrainRequest | TrainConfig | ResumeRequest | EvolveRequest:
    """Read the command line and the files named there; see `read_request`.

    Of several processes the first alone reads, fetches weights and draws data; the others, which get the settings
    alone, are handed its request when they join.

    Raises:
        ValueError: If a file is missing or wrong, or a value is out of range.
    """
    parser = create_parser()
    given = given_names(parser, argv)
    parsed = vars(parser.parse_args(argv))
    values = settings(TrainConfig, parsed)
    check_local_rank(values.pop("local_rank"))
    values["module"] = module_files(values["module"])
    if parsed["resume"]:
        return _resume_request(parsed["resume"], values, given)
    if "attention_start" in given and not values["attention"]:
        raise ValueError("--attention-start says how inserted modules begin, and none is inserted; add --attention")
    if "evolve_sampler" in given and "evolve" not in given:
        raise ValueError("--evolve-sampler says where a search takes its values from; add --evolve")
    _complete(values, given)
    if place().rank == 0:
        require_writable(values["project"], "--project")
    config = TrainConfig(**values)
    require_loggers(config.logger)
    search = EvolveRequest(config, parsed["evolve"], sampler=parsed["evolve_sampler"]) if "evolve" in given else None
    if place().rank:
        return config
    request = read_request(config)
    if "weights" not in given and config.weights:
        say(f"Weights from {request.config.weights}, stock ones of this size; --weights '' starts from scratch")
    return replace(search, config=request.config, hyp=request.hyp) if search else request


def _complete(values: dict[str, Any], given: set[str]) -> None:
    """Files as absolute paths, and what follows from other flags."""
    if values["hyp"]:
        values["hyp"] = str(find_hyp(values["hyp"]).resolve())
    if values["cfg"]:
        values["cfg"] = str(find_spec(values["cfg"]).resolve())
    if "weights" not in given:
        values["weights"] = stock_at_hand(values["cfg"])
    if values["name"] == "cfg":
        values["name"] = Path(values["cfg"] or values["weights"]).stem
    if "evolve" in given and "project" not in given:
        values["project"] = "runs/evolve"


def _resume_request(resume: str | bool, values: Mapping[str, Any], given: set[str]) -> ResumeRequest:
    if "evolve" in given:
        raise ValueError("--resume and --evolve: the same --evolve command given again goes on; leave --resume out")
    extra = sorted(given - {"resume", "project", "local_rank", *RESUME_KEEPS})
    if extra:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in extra)
        kept = ", ".join("--" + name for name in RESUME_KEEPS)
        note(f"--resume goes on with the run's own settings: {flags} has no effect (only {kept} may be given anew)")
    checkpoint = None
    if isinstance(resume, str):
        checkpoint = Path(resume)
        if checkpoint.is_dir():
            checkpoint = checkpoint / "weights" / "last.pt"
        if not checkpoint.is_file():
            raise ValueError(f"--resume {resume}: there is no such checkpoint; name a run's weights/last.pt")
        require_writable(checkpoint.parent, "--resume")
    kept = {name: values[name] if name in given else None for name in RESUME_KEEPS if name != "module"}
    return ResumeRequest(checkpoint, Path(values["project"]), **kept, module=values["module"])
