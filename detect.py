"""Detect objects on images, videos, cameras and streams.

python detect.py --weights runs/train/exp/weights/best.pt --source image.jpg
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from engine.config.detect_config import DetectConfig, build_parser, parse_config
from engine.config.keywords import called, options
from engine.config.parser import run_cli


def parse_opt(known: bool = False) -> Namespace:
    """The command line's flags with their values, for `main`; `known` leaves unknown ones aside."""
    return options(build_parser(), DetectConfig, known=known)


def run(weights: Any = None, source: Any = None, **flags: Any) -> None:  # noqa: ANN401  (any flag)
    """Detect and write what the flags ask for, as YOLOv5's `detect.run`.

    Args:
        weights: As `--weights`, one or several.
        source: As `--source`.
        flags: The other flags by name, e.g. `imgsz=(384, 640)`, `save_txt=True`, `classes=[0, 2]`.

    Raises:
        ValueError: For what the command line refuses, or if no input could be used.
    """
    config = called(parse_config, build_parser(), DetectConfig, {**flags, "weights": weights, "source": source})
    from engine.detection.run_detection import run_detection

    if run_detection(config):
        raise ValueError(f"detect.run(source={source!r}): no input could be used; the lines above say why")


def main(opt: Namespace | None = None) -> int:
    """Detect as `parse_opt` said; without it as the command line says."""
    if opt is not None:
        run(**vars(opt))
        return 0
    config = parse_config()
    from engine.detection.run_detection import run_detection  # torch loads after the flags are known to be right

    return run_detection(config)


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
