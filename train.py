"""Train a detection model: `python train.py --data signs.yaml --cfg yolov5n.yaml --weights '' --img 320`."""

from engine.allocator import keep_freed_memory
from engine.cli import run_cli
from engine.train_config import EvolveRequest, parse_train_args


def main() -> int:
    """Read the command line and train."""
    request = parse_train_args()
    keep_freed_memory()
    if isinstance(request, EvolveRequest):
        from engine.evolve import evolve

        evolve(request)
        return 0
    from engine.trainer import train  # torch loads after the command line is known to be right

    train(request)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
