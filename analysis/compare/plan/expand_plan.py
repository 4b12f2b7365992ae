"""From the axes of a comparison to its runs: checked, named by a digest of their settings, in balanced order."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

from analysis.compare.plan.command_line import NONE, Axes
from analysis.compare.plan.data_fingerprint import data_digest
from data.dataset.dataset_yaml import DatasetSpec, load_dataset_spec
from data.hyp import LOSSES, Hyperparameters, find_hyp, load_hyp
from engine.config.train_config import DEFAULT_HYP, TrainConfig
from models.attention import canonical_name
from models.freeze import freeze
from models.graph.user_classes import user_files
from models.insertion.insert import each_place, insert
from models.insertion.places import Insertion, format_request, parse_request
from models.model_yaml import load_spec
from models.spec.model_spec import ModelSpec
from models.weights.checkpoint import read_checkpoint
from models.yolo import build_model

# These count in the digests whatever their values; any setting of `TrainConfig` that came later counts only where it
# differs from its default, so that runs from before it are still found.
_ALWAYS_COUNTED = (
    *("epochs", "batch_size", "imgsz", "rect", "noval", "noautoanchor", "precision", "multi_scale", "single_cls"),
    *("optimizer", "cos_lr", "label_smoothing", "patience", "freeze", "thaw_after", "folds", "fold", "image_weights"),
    *("class_weights", "sync_bn", "local_rank"),
)
# Settings that change where or how fast a run is done, and not what comes out.
_WITHOUT_EFFECT = (
    *("device", "workers", "cache", "project", "name", "exist_ok", "noplots", "nosave", "save_period"),
    *("logger", "entity", "compile"),
    *LOSSES,  # they count as hyperparameters, which they replace
)
_NAMED_FILES = ("cfg", "weights", "data", "hyp")  # they count by their content, so that runs of other machines match


@dataclass(frozen=True)
class RunPlan:
    """One training run.

    Attributes:
        key: Digest of every setting that has an effect on the result.
        config: The same without the seed: runs of one configuration are averaged.
        group: The same without attention and start: only runs of one group are compared.
        module: Canonical name, or `none`.
        at: Where it is inserted, empty for `none`.
        start: How it begins, empty for `none`.
        options: Its options as text, `kernel_size=3`, empty without.
        seed: Of everything random.
        cfg: The model YAML's or weights file's name without its suffix; so is `data`.
        data: See `cfg`.
        train: Every setting of `TrainConfig`.
        data_digest: Of the images and labels; empty for runs from before it was recorded. It is no part of the other
            digests, so that those runs are still found.
        task: The split of the figures, `val` or `test`; the best epoch is chosen on `val` either way.
    """

    key: str
    config: str
    group: str
    module: str
    at: str
    start: str
    options: str
    seed: int
    cfg: str
    data: str
    train: Mapping[str, Any]
    data_digest: str = ""
    task: str = "val"

    @property
    def call(self) -> str:
        """The module with its options: `CBAM(kernel_size=3)`."""
        return f"{self.module}({self.options})" if self.options else self.module

    @property
    def label(self) -> str:
        """The configuration for people: `CBAM(kernel_size=3) @ neck.P5, paper`."""
        return NONE if self.module == NONE else f"{self.call} @ {self.at}, {self.start}"

    @property
    def folder_name(self) -> str:
        """The run's folder: readable, and unique by its settings and its data."""
        words = re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.cfg} {self.module} {self.at} {self.start}").strip("-").lower()
        digest = _digest([self.key, self.data_digest]) if self.data_digest else self.key
        return f"{words[:60]}-s{self.seed}-{digest[:10]}"

    def same_run(self, other: RunPlan) -> bool:
        """Whether the results of one may stand for the other's; data that was not recorded is taken for the same."""
        unknown = "" in (self.data_digest, other.data_digest)
        return self.key == other.key and (unknown or self.data_digest == other.data_digest)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in a run's `run.json`."""
        return {**asdict(self), "train": dict(self.train)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> RunPlan:
        """The inverse of `to_dict`.

        Raises:
            ValueError: If a field is missing or unknown; begins with `where`.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"{where}: is not the description of a run of compare.py: {error}") from error


def expand(axes: Axes, shared: Mapping[str, Any], task: str = "val") -> list[RunPlan]:
    """Every run of the matrix, each once, seed by seed, so that a matrix stopped half way is balanced.

    Args:
        axes: The matrix.
        shared: Settings of `TrainConfig` that every run has.
        task: The split of the figures.

    Raises:
        ValueError: If a module, a placement, an option, a file or a value is wrong, before anything is trained.
    """
    specs = [_load(cfg, weights) for cfg, weights in zip(axes.cfg, axes.weights, strict=True)]
    models = list(zip(axes.cfg, axes.weights, [_choices(axes, spec) for spec in specs], strict=True))
    datasets = [load_dataset_spec(name, single_cls=shared["single_cls"]) for name in axes.data]
    modules: dict[tuple[str, str, str, str], tuple[str, ...]] = {}  # what each model needs of the files of --module
    for dataset, spec, (cfg, weights, pairs) in (
        (d, s, m) for d in datasets for s, m in zip(specs, models, strict=True)
    ):
        for text, start in pairs:
            built = _check(spec.with_classes(dataset.nc), text, start, shared["freeze"])
            modules[cfg, weights, text, start] = tuple(user_files(built))
    contents = {dataset.file: data_digest(dataset, task) for dataset in datasets}
    runs: dict[str, RunPlan] = {}
    for seed, dataset, imgsz, (cfg, weights, pairs) in product(axes.seeds, datasets, axes.imgsz, models):
        for text, start in pairs:
            own = {"cfg": cfg, "weights": weights, "data": str(dataset.file.resolve()), "imgsz": imgsz, "seed": seed}
            inserted = {"attention": (text,) if text else (), "attention_start": start or "identity"}
            own["module"] = modules[cfg, weights, text, start]
            own["hyp"] = shared["hyp"] or str(find_hyp(dataset.hyp or DEFAULT_HYP).resolve())
            config = TrainConfig(**{**shared, **own, **inserted, "noplots": True})
            run = replace(_run(config, text, start, dataset, task), data_digest=contents[dataset.file])
            runs.setdefault(run.key, run)
    return list(runs.values())


def _load(cfg: str, weights: str) -> ModelSpec:
    return load_spec(cfg) if cfg else read_checkpoint(weights).spec


def _choices(axes: Axes, spec: ModelSpec) -> list[tuple[str, str]]:
    """Pairs of request and start for one model; empty texts for the baseline."""
    pairs: dict[tuple[str, str], None] = {}
    for text in axes.attention:
        if text == NONE:
            pairs["", ""] = None
            continue
        for request in _requests(text, axes, spec):
            for start in axes.start:
                own = dict(parse_request(request).options).get("start", start)
                pairs[request, own] = None
    return list(pairs)


def _requests(text: str, axes: Axes, spec: ModelSpec) -> Iterable[str]:
    """The requests of one word of --attention: with each set of options, at each placement."""
    parsed = parse_request(text)
    name = text.split("@")[0]
    placed = [parsed] if "@" in text else [parse_request(f"{name}@{at}") for at in axes.at]
    for one in placed:
        for options in axes.options.get(name, ({},)):
            merged = {**dict(one.options), **options}
            insertion = replace(one, name=canonical_name(one.name), options=tuple(merged.items()))
            yield from each_place(spec, format_request(insertion))


def _check(spec: ModelSpec, text: str, start: str, frozen: Sequence[str]) -> ModelSpec:
    """Build the model once, so that what cannot be built or frozen is told before the first run; its spec."""
    try:
        model = build_model(insert(spec, text, start=start) if text else spec)
    except ValueError as error:
        raise ValueError(f"--attention {text or NONE}: {error}") from error
    freeze(model, frozen)
    return model.spec


def _hyp_digest(config: TrainConfig) -> dict[str, Any]:
    """The hyperparameters of a run; its losses only where they are not YOLOv5's, as in runs from before the choice."""
    given = {name: value for name in LOSSES if (value := getattr(config, name))}
    values, default = replace(load_hyp(config.hyp), **given).to_dict(), Hyperparameters().to_dict()
    return {name: value for name, value in values.items() if name not in LOSSES or value != default[name]}


def _run(config: TrainConfig, text: str, start: str, dataset: DatasetSpec, task: str) -> RunPlan:
    values = config.to_dict()
    shared = _counted(config) | ({"task": task} if task != "val" else {})
    shared |= {
        "cfg": _model_digest(config.cfg, config.weights),
        "weights": _file_digest(config.weights),
        "data": {"names": list(dataset.names.values()), "file": dataset.file.stem},
        "hyp": _hyp_digest(config),
    }
    parsed = parse_request(text) if text else Insertion(NONE, ())
    options = [(name, value) for name, value in parsed.options if name != "start"]
    tail: dict[str, Any] = {"attention": text, "start": start}
    if config.module:
        tail["module"] = [_file_digest(file) for file in config.module]
    return RunPlan(
        key=_digest({**shared, **tail, "seed": config.seed}),
        config=_digest({**shared, **tail}),
        group=_digest(shared),
        module=parsed.name,
        at=",".join(map(str, parsed.places)),
        start=start,
        options=", ".join(f"{name}={value!r}" for name, value in options),
        seed=config.seed,
        cfg=Path(config.cfg or config.weights).stem,
        data=dataset.file.stem,
        train=values,
        task=task,
    )


def _counted(config: TrainConfig) -> dict[str, Any]:
    """The settings that count in every digest, beside the named files."""
    left_out = (*_WITHOUT_EFFECT, *_NAMED_FILES, "attention", "attention_start", "seed", "module")
    values = config.to_dict()
    defaults = TrainConfig(**{name: getattr(config, name) for name in _NAMED_FILES}).to_dict()
    return {
        name: value
        for name, value in values.items()
        if name not in left_out and (name in _ALWAYS_COUNTED or value != defaults[name])
    }


def _digest(values: Any) -> str:  # noqa: ANN401  (nested plain data)
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


@lru_cache
def _model_digest(cfg: str, weights: str) -> str:
    spec = replace(_load(cfg, "" if cfg else weights), file="model", base=None)
    return _digest(spec.to_dict())


@lru_cache
def _file_digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16] if path else ""
