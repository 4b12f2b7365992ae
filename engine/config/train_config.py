"""`train.py`'s flags, YOLOv5's names and meanings, as a checked and frozen `TrainConfig`. Imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data.dataset.dataset_yaml import load_dataset_spec, own_hyp
from data.hyp import load_hyp
from engine.config.files import module_files, resolve_file
from engine.config.train_parser import DEFAULT_HYP, create_parser, require_loggers
from engine.runtime.console import note, say
from engine.runtime.launcher import check_local_rank, place
from files.disk import require_writable
from models.model_yaml import load_spec
from models.weights.download import find_weights, stock_at_hand

RESUME_KEEPS = ("device", "workers", "epochs", "module")  # what may be given beside --resume


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run under YOLOv5's names; files are absolute paths, empty text where there is none.

    Raises:
        ValueError: If a value is out of range or settings contradict each other.
    """

    data: str
    hyp: str
    weights: str = ""
    cfg: str = ""
    attention: tuple[str, ...] = ()
    attention_start: str = "identity"
    module: tuple[str, ...] = ()
    class_map: tuple[str, ...] = ()  # `own name=name in the weights`, as on the command line
    epochs: int = 100
    batch_size: int = 16
    imgsz: int = 640
    rect: bool = False
    nosave: bool = False
    noval: bool = False
    noautoanchor: bool = False
    noplots: bool = False
    cache: str = "auto"
    device: str = ""
    precision: str = "auto"
    multi_scale: bool = False
    single_cls: bool = False
    optimizer: str = "SGD"
    workers: int = 8
    project: str = "runs/train"
    name: str = "exp"
    exist_ok: bool = False
    cos_lr: bool = False
    label_smoothing: float = 0.0
    patience: int = 100
    freeze: tuple[str, ...] = ("0",)
    thaw_after: int = 0
    save_period: int = -1
    folds: int = 0
    fold: int = -1
    image_weights: bool = False
    class_weights: float = 0.0
    logger: tuple[str, ...] = ()
    entity: str = ""
    seed: int = 0
    sync_bn: bool = False
    compile: bool = False
    local_rank: int = -1  # always; launchers set it on the command line only

    def __post_init__(self) -> None:
        self._check_ranges()
        self._check_combinations()
        self._check_folds()
        requests = (self.attention,) if isinstance(self.attention, str) and self.attention else self.attention
        object.__setattr__(self, "attention", tuple(requests))
        object.__setattr__(self, "module", tuple(self.module))
        object.__setattr__(self, "cache", self.cache or "auto")  # None in runs from before there was auto
        object.__setattr__(self, "class_map", tuple(self.class_map))
        object.__setattr__(self, "freeze", tuple(map(str, self.freeze)))
        object.__setattr__(self, "logger", tuple(dict.fromkeys(self.logger)))

    def _check_ranges(self) -> None:
        for name, low in (
            ("epochs", 1),
            ("imgsz", 32),
            ("workers", 0),
            ("patience", 0),
            ("seed", 0),
            ("thaw_after", 0),
        ):
            if getattr(self, name) < low:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: expected at least {low}")
        if self.batch_size < 1 and self.batch_size != -1:
            raise ValueError(f"--batch-size {self.batch_size}: expected at least 1, or -1 to find one")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"--label-smoothing {self.label_smoothing}: expected 0 to below 1")
        if not 0 <= self.class_weights <= 1:
            raise ValueError(f"--class-weights {self.class_weights}: expected 0, equal weights, to 1, balanced classes")

    def _check_combinations(self) -> None:
        if not self.cfg and not self.weights:
            raise ValueError(
                "expected --cfg, --weights or both: --cfg yolov5s.yaml trains from scratch, --weights yolov5s.pt goes "
                "on from the pretrained model (fetched if it is not on disk)"
            )
        wrong = next((pair for pair in self.class_map if not all(pair.partition("="))), None)
        if wrong is not None:
            raise ValueError(f"--class-map {wrong!r}: expected a form such as 'stop=stop sign'")
        if self.class_map and not self.weights:
            raise ValueError("--class-map says which classes of --weights are carried over, and none are named")
        if self.thaw_after >= max(self.epochs, 1):
            raise ValueError(
                f"--thaw-after {self.thaw_after}: expected less than --epochs {self.epochs}, so that epochs follow the "
                "thaw; --freeze '!attention' trains the attention modules alone from first to last"
            )
        if 0 < self.patience < self.thaw_after and not self.noval:
            raise ValueError(
                f"--patience {self.patience}: may stop the run before --thaw-after {self.thaw_after}; expected "
                f"at least {self.thaw_after}, or 0 for never"
            )
        if self.rect and self.image_weights:
            raise ValueError("--rect sorts the images by shape and --image-weights draws them; leave one of them out")

    def _check_folds(self) -> None:
        if self.folds and self.folds < 2:
            raise ValueError(f"--folds {self.folds}: expected at least 2")
        if self.folds and not 0 <= self.fold < self.folds:
            given = f"--fold {self.fold}" if self.fold != -1 else "no --fold"
            raise ValueError(f"{given}: --folds {self.folds} expects the one that is validated, 0 to {self.folds - 1}")
        if not self.folds and self.fold != -1:
            raise ValueError(f"--fold {self.fold}: expected the number of folds too, e.g. --folds 5")

    @property
    def compiles(self) -> bool:
        """Whether the network goes through torch.compile, which makes code for one image size."""
        return self.compile and not self.rect and not self.multi_scale

    @property
    def warnings(self) -> tuple[str, ...]:
        """Flags without an effect."""
        notes = []
        if self.compile and not self.compiles:
            other = "--rect" if self.rect else "--multi-scale"
            notes.append(f"--compile is ignored: it makes code for one image size, and {other} varies it")
        if self.entity and not {"wandb", "comet"} & set(self.logger):
            notes.append("--entity has no effect without --logger wandb or --logger comet")
        return tuple(notes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in `opt.yaml` and in checkpoints; `module` only where files are named."""
        values = {
            **asdict(self),
            "attention": list(self.attention),
            "class_map": list(self.class_map),
            "freeze": list(self.freeze),
            "logger": list(self.logger),
            "module": list(self.module),
        }
        return values if self.module else {name: value for name, value in values.items() if name != "module"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The inverse of `to_dict`.

        Raises:
            ValueError: If a name is unknown or a value is out of range.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"the run's settings have unknown names: {', '.join(unknown)}")
        return cls(**values)


@dataclass(frozen=True)
class EvolveRequest:
    """`--evolve`: a number of runs with the same settings and hyperparameters drawn for each, in one folder.

    Raises:
        ValueError: If a value is out of range or a setting cannot be one of several runs.
    """

    config: TrainConfig
    trials: int

    def __post_init__(self) -> None:
        if place().launcher:
            raise ValueError("--evolve: start it as it is, without a launcher; --device 0,1 gives each trial two GPUs")
        if self.trials < 1:
            raise ValueError(f"--evolve {self.trials}: expected at least 1 trial")
        if self.config.batch_size == -1:
            raise ValueError("--batch-size -1: the trials of --evolve need the same batch; give a number")
        if find_spec("optuna") is None:
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
        given = {name: value for name, value in given.items() if value is not None}
        return replace(config, **given, module=self.module)


def parse_train_args(argv: Sequence[str] | None = None) -> TrainConfig | ResumeRequest | EvolveRequest:
    """Read the command line; every file named there exists afterwards.

    Of several processes the first alone fetches weights and draws data; the others take its settings when they join.

    Raises:
        ValueError: If a file is missing or wrong, or a value is out of range.
    """
    parser = create_parser()
    given = _given(parser, argv)
    values = vars(parser.parse_args(argv))
    check_local_rank(values.pop("local_rank"))
    resume, trials = values.pop("resume"), values.pop("evolve")
    values["module"] = module_files(values["module"])
    if resume:
        return _resume_request(resume, values, given)
    if "attention_start" in given and not values["attention"]:
        raise ValueError("--attention-start says how inserted modules begin, and none is inserted; add --attention")
    values["hyp"] = hyp_file(values["hyp"] or DEFAULT_HYP)
    if values["cfg"]:
        values["cfg"] = str(resolve_file(values["cfg"], ("models",), "model").resolve())
    first = place().rank == 0
    if "weights" not in given:
        values["weights"] = stock_at_hand(values["cfg"])
    if values["weights"] and first:
        values["weights"] = str(find_weights(values["weights"]).resolve())
    if values["name"] == "cfg":
        values["name"] = Path(values["cfg"] or values["weights"]).stem
    if "evolve" in given and "project" not in given:
        values["project"] = "runs/evolve"
    if first:
        require_writable(values["project"], "--project")
    config = TrainConfig(**values)
    require_loggers(config.logger)
    request = EvolveRequest(config, trials) if "evolve" in given else None
    if not first:
        return config
    _check_model(config)
    config = _completed(config, given)
    return replace(request, config=config) if request else config


def _completed(config: TrainConfig, given: Collection[str]) -> TrainConfig:
    """With what the data set decides, after a word on what was not asked for."""
    if "hyp" not in given and (own := own_hyp(config.data)):
        config = replace(config, hyp=hyp_file(own))
        say(f"Hyperparameters from {own}, as {Path(config.data).name} says; --hyp takes others")
    # Last, because reading a generated set for the first time draws it.
    data = load_dataset_spec(config.data, single_cls=config.single_cls).file
    if "weights" not in given and config.weights:
        say(f"Weights from {config.weights}, stock ones of this size; --weights '' starts from scratch")
    return replace(config, data=str(data.resolve()))


def hyp_file(name: str) -> str:
    """A hyperparameter file's absolute path, after a check that it can be read."""
    file = str(resolve_file(name, ("data/hyps",), "hyperparameter").resolve())
    load_hyp(file)
    return file


def _check_model(config: TrainConfig) -> None:
    """Find mistakes in the layer list and the requests for attention before a data set is drawn."""
    if config.module:
        from models.user_modules import load_modules  # with torch

        load_modules(config.module)
    spec = load_spec(config.cfg) if config.cfg else None
    if not config.attention:
        return
    from models.insertion.insert import insert, parse_request  # with torch

    if spec is not None:
        insert(spec, config.attention, start=config.attention_start)
    else:  # its places are known when the weights are read
        for request in config.attention:
            parse_request(request)


def _given(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> set[str]:
    """Names of the settings that stand on the command line."""
    unset: list[str] = []  # argparse appends to a copy, so that identity tells for repeatable flags too
    namespace = argparse.Namespace(**{action.dest: unset for action in parser._actions})
    return {name for name, value in vars(parser.parse_args(argv, namespace)).items() if value is not unset}


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
