"""Write a trained model for other runtimes: TorchScript, ONNX, OpenVINO, TensorRT.

python export.py --weights runs/train/exp/weights/best.pt --include onnx openvino
"""

from engine.config.export_config import parse_config
from engine.config.parser import run_cli


def main() -> int:
    """Read the command line, then import what is heavy."""
    config = parse_config()
    from engine.exporting.run_export import export

    export(config)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
