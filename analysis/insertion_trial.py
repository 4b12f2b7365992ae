"""What an insertion would do to a model, tried: rows, cost, latency, weights, and whether it starts as the identity."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import join

import torch

from analysis.cost.measure_cost import paired_ms
from models.cost import count_macs, count_parameters
from models.insertion.insert import insert, insert_rows
from models.insertion.layer_list import layer_list
from models.insertion.places import Insertion, format_request, parse_request, places
from models.model_yaml import load_spec
from models.spec.model_spec import ModelSpec, row_text
from models.weights.checkpoint import read_checkpoint
from models.weights.transfer import transfer
from models.weights.transfer_report import TransferReport
from models.yolo import DetectionModel, build_model

_START = "identity"  # as in train.py


@dataclass(frozen=True)
class MovedRow:
    """A row of the new layer list.

    Attributes:
        new: Its number.
        old: The number it had; None for an inserted row.
        text: As it stands now.
        before: As it stood, where its text has changed; else empty.
    """

    new: int
    old: int | None
    text: str
    before: str = ""


@dataclass(frozen=True)
class Cost:
    """What one of the two models costs.

    Attributes:
        parameters: Their number.
        macs: Multiply-adds of one image; None if they cannot be counted.
        latency_ms: Median of one image, unless no latency was asked for.
    """

    parameters: int
    macs: int | None
    latency_ms: float | None


@dataclass(frozen=True)
class InsertionTrial:
    """What `try_insertion` found out.

    Attributes:
        yaml: The complete new layer list.
        rows: Of it, all.
        base: Cost of the base.
        changed: Cost with the insertion.
        transfer: What becomes of every tensor of the weights; without weights of the base's own fresh ones.
        identical: Whether base and changed model, this with identity start, give the same bits for a seeded image.
        request: What was inserted, as `train.py --attention` takes it.
    """

    yaml: str
    rows: tuple[MovedRow, ...]
    base: Cost
    changed: Cost
    transfer: TransferReport
    identical: bool
    request: str


def base_spec(cfg: str | Path | None, weights: str | Path | None = None) -> ModelSpec:
    """The layer list of a model YAML; without one that of the weights.

    Raises:
        ValueError: If there is neither, or it cannot be read.
    """
    if cfg:
        return load_spec(cfg)
    if not weights:
        raise ValueError("expected a model YAML or weights to insert into")
    return read_checkpoint(weights).spec


def try_insertion(
    spec: ModelSpec, request: str, weights: str | Path | None = None, *, image_px: int = 320, repeats: int = 5
) -> InsertionTrial:
    """Insert, build both models, and measure them in fp32 on the CPU.

    Args:
        spec: The base; see `base_spec`.
        request: As `train.py --attention` takes it, e.g. `CBAM(kernel_size=3)@neck.P3,14`; its `start` is train.py's,
            identity, unless it says.
        weights: Where the base's weights come from; fresh ones without it.
        image_px: Side of the square image, a multiple of the stride.
        repeats: Timings of each model, in turn; none are made for 0.

    Raises:
        ValueError: If the module, an option, a place or the weights are wrong.
    """
    insertion = parse_request(request)
    options = {"start": _START, **dict(insertion.options)}
    changed_spec = insert(spec, replace(insertion, options=tuple(options.items())))
    source = read_checkpoint(weights) if weights else None
    base, changed = build_model(spec).eval(), build_model(changed_spec).eval()
    if source is not None:
        transfer(base, source)
    report = transfer(changed, source or base)
    neutral = changed
    if options["start"] != _START or source is not None:  # what the weights do not fill has to be that of the base
        options["start"] = _START
        neutral = build_model(insert(spec, replace(insertion, options=tuple(options.items())))).eval()
        transfer(neutral, base)
    image = torch.rand(1, spec.channels, image_px, image_px, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        identical = torch.equal(base(image), neutral(image))
    before, after = _costs(base, changed, image, repeats)
    rows = moved_rows(spec, insertion)
    return InsertionTrial(layer_list(changed_spec), rows, before, after, report, identical, format_request(insertion))


def moved_rows(spec: ModelSpec, insertion: Insertion) -> tuple[MovedRow, ...]:
    """Every row after an insertion: where it was, and how it read if it has to read otherwise now."""
    changed = insert_rows(spec, insertion, places(spec))
    rows: list[MovedRow] = []
    for new, layer in enumerate(changed.layers):
        text, old = row_text(changed, new), layer.base_row
        before = "" if old is None else row_text(spec, old)
        rows.append(MovedRow(new, old, text, "" if before == text else before))
    return tuple(rows)


def train_command(trial: InsertionTrial, *, cfg: str, weights: str, data: str) -> str:
    """The command line that trains the model of a trial.

    Args:
        trial: The trial.
        cfg: Model YAML; empty where the model is that of the weights.
        weights: To start from; empty for none.
        data: Dataset YAML.
    """
    words = ["python", "train.py", *(["--cfg", cfg] if cfg else []), "--weights", weights, "--data", data]
    return join([*words, "--attention", trial.request])


def _costs(base: DetectionModel, changed: DetectionModel, image: torch.Tensor, repeats: int) -> list[Cost]:
    """Counted as they are, timed as they are used: norms folded into the convolutions."""
    models = (base, changed)
    counted = [(count_parameters(model), count_macs(model, image)) for model in models]
    times: list[float | None] = [None, None]
    if repeats:
        with torch.inference_mode():
            first, second = (model.fuse() for model in models)
            pairs = paired_ms(lambda: first(image), lambda: second(image), repeats)
        times = [statistics.median(pair[which] for pair in pairs) for which in (0, 1)]
    return [Cost(*figures, ms) for figures, ms in zip(counted, times, strict=True)]
