"""The flags of app.py. Imports nothing heavy."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

from engine.config.parser import ArgumentParser

_AUTH = "user:password"


def build_parser() -> ArgumentParser:
    """The parser."""
    parser = ArgumentParser(
        prog="app.py",
        description="Detect, insert, train and compare on a page in the browser.",
        examples=("python app.py --folder my_images", "python app.py --host 0.0.0.0 --auth me:secret --no-browser"),
        page="docs/app.md",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to serve at; others than this machine's own need --auth")
    add("--port", type=int, default=7860, help="port to serve at")
    add("--auth", metavar=_AUTH, help="ask who opens the page for these")
    add("--folder", action="append", metavar="DIR", help="folder that the page may read, may be repeated; "
        "default: this one, and weights/, data/ and runs/ of the repository")  # fmt: skip
    add("--no-browser", action="store_true", help="open no browser")
    return parser


def parse_opt(words: Sequence[str] | None = None) -> Namespace:
    """Command line -> checked flags; `auth` is (user, password) or None.

    Raises:
        ValueError: If the flags cannot be used, or gradio is not installed.
        SystemExit: With code 2 on unknown flags, 0 on `--help`.
    """
    opt = build_parser().parse_args(words)
    if not 1 <= opt.port <= 65535:
        raise ValueError(f"--port {opt.port}: expected a number from 1 to 65535")
    if opt.auth is not None:
        user, _, password = opt.auth.partition(":")
        if not user or not password:
            raise ValueError(f"--auth: expected {_AUTH}")
        opt.auth = (user, password)
    if opt.auth is None and not is_loopback(opt.host):
        raise ValueError(f"--host {opt.host}: others could use this machine by the page; give --auth {_AUTH} too")
    for folder in opt.folder or []:
        if not Path(folder).is_dir():
            raise ValueError(f"--folder {folder}: no such folder")
    if find_spec("gradio") is None:
        raise ValueError("the page needs the package gradio; install it with pip install -r requirements-app.txt")
    return opt


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
