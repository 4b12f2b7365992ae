"""Train a detection model: `python train.py --data signs.yaml --cfg yolov5n.yaml --weights '' --img 320`."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from engine.config.keywords import called, options
from engine.config.parser import run_cli
from engine.config.train_config import TrainConfig
from engine.config.train_parser import create_parser
from engine.config.train_request import EvolveRequest, ResumeRequest, TrainRequest, parse_train_args
from engine.runtime.memory_allocator import keep_freed_memory


def parse_opt(known: bool = False) -> Namespace:
    """The command line's flags with their values, for `main`; `known` leaves unknown ones aside."""
    return options(create_parser(), TrainConfig, known=known)


def run(**flags: Any) -> Namespace:  # noqa: ANN401  (any flag)
    """Train, as YOLOv5's `train.run`.

    Args:
        flags: The flags by name, e.g. `data="signs.yaml"`, `imgsz=320`, `resume=True`.

    Returns:
        The run's settings, with `save_dir`, the run folder, and, but for a search, `results`: P, R, mAP50 and
        mAP50-95 of the best weights.

    Raises:
        ValueError: For what the command line refuses, or a loss that is no longer a number.
        KeyboardInterrupt: After Ctrl-C; the weights of the last full epoch are saved.
    """
    if "," in str(flags.get("device", "")) and not hasattr(sys.modules["__main__"], "__file__"):
        raise ValueError(f"device={flags['device']!r}: a notebook trains on one GPU; !python train.py on several")
    request = called(parse_train_args, create_parser(), TrainConfig, flags)
    return _train(request)


def main(opt: Namespace | None = None) -> int:
    """Train as `parse_opt` said; without it as the command line says."""
    if opt is not None:
        run(**vars(opt))
        return 0
    request = parse_train_args()
    keep_freed_memory()
    _train(request)
    return 0


def _train(request: TrainRequest | TrainConfig | ResumeRequest | EvolveRequest) -> Namespace:
    if isinstance(request, EvolveRequest):
        from engine.evolution.run_evolution import evolve

        folder = evolve(request)
        return Namespace(**request.config.to_dict(), evolve=request.trials, save_dir=str(folder))
    from analysis.doctor.brief import brief
    from engine.training.run_training import train  # torch loads after the command line is known to be right

    done = train(request, examine=brief)
    figures = done.evaluation.original_figures()[0][:4]
    return Namespace(**done.config.to_dict(), save_dir=str(done.folder), results=figures)


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
