"""Measure a trained model: P, R, mAP50 and mAP50-95 for all classes and for each.

python val.py --weights runs/train/exp/weights/best.pt --data signs.yaml
"""

from engine.config.parser import run_cli
from engine.config.val_config import parse_config
from engine.runtime.memory_allocator import keep_freed_memory


def main() -> None:
    """Read the command line, then import what is heavy."""
    config = parse_config()
    keep_freed_memory()
    from engine.validation.run_validation import validate

    validate(config)


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
