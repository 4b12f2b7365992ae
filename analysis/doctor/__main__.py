"""`python -m analysis.doctor`."""

from analysis.doctor.run_doctor import main
from engine.config.parser import run_cli

if __name__ == "__main__":
    raise SystemExit(run_cli(main))
