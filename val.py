"""Measure a trained model: P, R, mAP50 and mAP50-95 for all classes and for each.

python val.py --weights runs/train/exp/weights/best.pt --data signs.yaml
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from engine.config.keywords import called, options
from engine.config.parser import run_cli
from engine.config.val_config import ValConfig, build_parser, parse_config
from engine.runtime.memory_allocator import keep_freed_memory

if TYPE_CHECKING:
    import numpy as np

    from engine.validation.result_table import EvalResult

    Figures = tuple[tuple[float, ...], np.ndarray, tuple[float, float, float]]


def parse_opt(known: bool = False) -> Namespace:
    """The command line's flags with their values, for `main`; `known` leaves unknown ones aside."""
    return options(build_parser(), ValConfig, known=known)


def run(data: Any = None, weights: Any = None, plots: bool = True, **flags: Any) -> Figures:  # noqa: ANN401  (any flag)
    """Measure weights, as YOLOv5's `val.run`.

    Args:
        data: As `--data`.
        weights: As `--weights`, one or several.
        plots: Draw curves and mosaics.
        flags: The other flags by name, e.g. `imgsz=320`, `conf_thres=0.25`, `half=True`.

    Returns:
        (P, R, mAP50, mAP50-95, 0, 0, 0), the mAP50-95 of each class (classes,), and milliseconds per image of
        pre-processing, network and suppression. A class without labels has the mean, and losses are 0, both as in
        YOLOv5. Of several measurements, as with `task="study"`, the last.

    Raises:
        ValueError: For what the command line refuses.
    """
    for name in ("model", "dataloader", "callbacks", "compute_loss", "save_dir"):
        if flags.pop(name, None) not in (None, ""):
            raise ValueError(f"val.run({name}=…): files are measured here; give weights= and data=, project= and name=")
    flags |= {"data": data, "weights": weights, "noplots": not plots or flags.get("noplots", False)}
    config = called(parse_config, build_parser(), ValConfig, flags)
    return _measure(config)[-1].original_figures()


def main(opt: Namespace | None = None) -> None:
    """Measure what `parse_opt` gave; without it what the command line says."""
    if opt is not None:
        run(**vars(opt))
        return
    config = parse_config()
    keep_freed_memory()
    _measure(config)


def _measure(config: ValConfig) -> list[EvalResult]:
    if config.task == "study":
        from engine.validation.study import study

        return study(config)
    from engine.validation.run_validation import validate  # torch loads after the command line is known to be right

    return validate(config)


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
