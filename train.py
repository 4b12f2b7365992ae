"""Train a detection model: `python train.py --data signs.yaml --cfg yolov5n.yaml --weights '' --img 320`."""

from engine.config.parser import run_cli
from engine.config.train_request import EvolveRequest, parse_train_args
from engine.runtime.memory_allocator import keep_freed_memory


def main() -> int:
    """Read the command line and train."""
    request = parse_train_args()
    keep_freed_memory()
    if isinstance(request, EvolveRequest):
        from engine.evolution.run_evolution import evolve

        evolve(request)
        return 0
    from analysis.doctor.brief import brief
    from engine.training.run_training import train  # torch loads after the command line is known to be right

    train(request, examine=brief)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
