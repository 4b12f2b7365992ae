"""Compare attention modules: `python compare.py --cfg yolov5n.yaml --data signs.yaml --attention none SE --seeds 3`.

Trains every combination with every seed, measures all of them alike and reports which differences are more than noise.
Running it again goes on where it stopped.
"""

from analysis.compare.plan.command_line import parse_compare_args
from engine.config.parser import run_cli


def main() -> int:
    """Read the command line, run what is missing and write the report."""
    request = parse_compare_args()
    from analysis.compare.study import run_study  # torch loads after the command line is known to be right

    return run_study(request)


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
