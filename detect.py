"""Detect objects on images, videos, cameras and streams.

python detect.py --weights runs/train/exp/weights/best.pt --source image.jpg
"""

from engine.config.detect_config import parse_config
from engine.config.parser import run_cli


def main() -> int:
    """Read the command line, then import what is heavy."""
    config = parse_config()
    from engine.detection.run_detection import run_detection

    return run_detection(config)


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
