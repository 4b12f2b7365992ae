"""`python -m analysis.cost`."""

from analysis.cost.measure_cost import main
from engine.config.parser import run_cli

if __name__ == "__main__":
    raise SystemExit(run_cli(main))
