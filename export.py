"""Write a trained model for other runtimes: TorchScript, ONNX, OpenVINO, TensorRT; or for the original YOLOv5.

python export.py --weights runs/train/exp/weights/best.pt --include onnx openvino
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from engine.config.export_config import ExportConfig, build_parser, parse_config
from engine.config.keywords import called, options
from engine.config.parser import run_cli


def parse_opt(known: bool = False) -> Namespace:
    """The command line's flags with their values, for `main`; `known` leaves unknown ones aside."""
    return options(build_parser(), ExportConfig, known=known)


def run(data: Any = None, weights: Any = None, **flags: Any) -> list[str]:  # noqa: ANN401  (any flag)
    """Write the formats of `include`, as YOLOv5's `export.run`.

    Args:
        data: As `--data`.
        weights: As `--weights`.
        flags: The other flags by name, e.g. `include=("onnx",)`, `imgsz=(320, 320)`, `half=True`.

    Returns:
        The written files and folders; none with `benchmark`, which prints a table.

    Raises:
        ValueError: For what the command line refuses, or a file that differs too much from its source.
    """
    config = called(parse_config, build_parser(), ExportConfig, {**flags, "data": data, "weights": weights})
    return _export(config)


def main(opt: Namespace | None = None) -> int:
    """Export what `parse_opt` gave, each of several weights; without it what the command line says."""
    if opt is not None:
        for weights in opt.weights if isinstance(opt.weights, (list, tuple)) else [opt.weights]:
            run(**{**vars(opt), "weights": weights})
        return 0
    _export(parse_config())
    return 0


def _export(config: ExportConfig) -> list[str]:
    """What was written; nothing with `--benchmark`, which prints a table."""
    if config.benchmark:
        from analysis.cost.exported_formats import benchmark

        print(benchmark(config))
        return []
    from engine.exporting.run_export import export  # torch loads after the command line is known to be right

    return [str(one.path) for one in export(config)]


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
