"""`python -m data.convert voc FOLDER --out FOLDER`: a published data set to YOLO layout; a set renumbered or split."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data.convert import three_way, voc, yolo
from data.convert.pipeline import Options, convert
from files.text import printable_lines

FORMATS = {"voc": voc, "yolo": yolo}


def build_parser() -> argparse.ArgumentParser:
    """The parser with one subcommand per format."""
    parser = argparse.ArgumentParser(prog="python -m data.convert", description="Convert a data set to YOLO layout.")
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    for name, module in FORMATS.items():
        one = formats.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        _add_common_arguments(one)
        module.add_arguments(one.add_argument_group(f"{name} only"))
    three_way.add_arguments(formats.add_parser("three-way", help=three_way.SUMMARY, description=three_way.__doc__))
    return parser


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = Options(Path(), Path())
    add = parser.add_argument
    add("folder", type=Path, help="the folder of the published data set")
    add("--out", type=Path, required=True, help="the folder to write, e.g. datasets/roadsigns")
    add("--val", type=float, default=defaults.val, help="share of the images for validation (default: %(default)s)")
    add("--test", type=float, default=defaults.test, help="share of the images for testing (default: %(default)s)")
    add("--seed", type=int, default=defaults.seed, help="another seed gives another split (default: %(default)s)")
    add(
        "--names",
        default="",
        help="class names in label order, comma-separated (default: as data/<name of OUT>.yaml says, else sorted)",
    )
    add("--ignore-others", action="store_true", help="leave out objects whose class --names lacks")
    add(
        "--near-duplicate-bits",
        type=int,
        default=defaults.near_duplicate_bits,
        help="pictures whose 128-bit hashes differ by at most this stay on one side; -1 is off (default: %(default)s)",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--copy", dest="link", action="store_false", default=False, help="copy the images (the default)")
    how.add_argument("--link", action="store_true", help="hard-link the images: no space, same file system only")
    add("--exist-ok", action="store_true", help="write into a folder that holds other files")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; a user's mistake gives one line on stderr and exit code 2."""
    given = vars(build_parser().parse_args(argv))
    try:
        if given["format"] == "three-way":
            given.pop("format")
            print(printable_lines(three_way.split_three_ways(**given)))
        else:
            print(printable_lines(_convert(given)))
    except ValueError as error:
        print(printable_lines(f"python -m data.convert: error: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was written, run the same command again", file=sys.stderr)
        return 130
    return 0


def _convert(given: dict[str, Any]) -> str:
    module = FORMATS[given["format"]]
    own = {name: given.pop(name) for name in module.OPTIONS}
    settings = {"format": given.pop("format"), **own}
    given["names"] = tuple(name.strip() for name in given["names"].split(",")) if given["names"] else ()
    if module is yolo and not given["names"]:
        given["names"] = yolo.class_names(given["folder"], **own)
    return convert(Options(**given), partial(module.read, **own), settings)


if __name__ == "__main__":
    raise SystemExit(main())
