"""`python -m app`, and what the app.py of the top level runs."""

from __future__ import annotations

from argparse import Namespace

from app.command_line import parse_opt
from engine.config.parser import run_cli


def main(opt: Namespace | None = None) -> int:
    """Serve the page as `parse_opt` said until Ctrl-C; without it as the command line says."""
    config = parse_opt() if opt is None else opt
    from app.server import serve  # gradio and torch load after the flags are known to be right

    return serve(config)


if __name__ == "__main__":
    raise SystemExit(run_cli(main))
