"""`python -m data.convert [FORMAT] SOURCE --out FOLDER`: a published data set to YOLO layout, and back with --to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from data.convert import (
    bdd,
    cctsdb,
    coco,
    cvat,
    gtsdb,
    labelme,
    labelstudio,
    table,
    three_way,
    tt100k,
    visdrone,
    voc,
    way_back,
    yolo,
)
from data.convert.pipeline import Options, convert, opened, prepare
from data.convert.source import Source
from files.signals import Terminated, signals_as_ctrl_c
from files.text import printable, printable_lines

# In the order in which they are looked for: a set in YOLO layout may hold other files too, and the sign sets' own
# layouts are told from the general ones first.
FORMATS: dict[str, ModuleType] = {
    **{"yolo": yolo, "gtsdb": gtsdb, "cctsdb": cctsdb, "tt100k": tt100k, "visdrone": visdrone},
    **{
        "bdd": bdd,
        "coco": coco,
        "labelstudio": labelstudio,
        "labelme": labelme,
        "cvat": cvat,
        "voc": voc,
        "csv": table,
    },
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of conversions; `three-way` has its own."""
    parser = argparse.ArgumentParser(
        prog="python -m data.convert",
        usage="python -m data.convert [FORMAT] SOURCE --out FOLDER, or --to FORMAT SET, or three-way DATA.yaml",
        description="Convert a data set to YOLO layout.",
        epilog="FORMAT: "
        + "; ".join(f"{name}: {module.SUMMARY}" for name, module in FORMATS.items())
        + f"; three-way: {three_way.SUMMARY}. Examples: python -m data.convert export.zip --out datasets/mine; "
        "python -m data.convert --to coco my.yaml --out my_coco. More: docs/data.md",
    )
    _add_common_arguments(parser)
    for name, module in FORMATS.items():
        if module.OPTIONS:
            module.add_arguments(parser.add_argument_group(f"{name} only"))
    return parser


def _add_common_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = Options(Path(), Path())
    add = parser.add_argument
    add("words", nargs="+", metavar="[FORMAT] SOURCE", help="the format, found out where it is left out, and the set")
    add("--out", type=Path, help="the folder to write, e.g. datasets/roadsigns")
    add("--to", choices=sorted(way_back.WRITERS), help="write a set in YOLO layout in another form instead")
    add(
        "--split", type=_shares, help="shares of train, val and test, e.g. 0.8,0.1,0.1 (default: the set's, or 0.8,0.2)"
    )
    add("--seed", type=int, default=defaults.seed, help="another seed gives another split (default: %(default)s)")
    add("--classes", default="", help="classes to keep, OLD=NEW renames and merges; or a YAML file with such a mapping")
    add(
        "--names",
        default="",
        help="class names in label order, comma-separated (default: as data/<name of OUT>.yaml says, else the set's)",
    )
    add("--min-size", type=float, default=defaults.min_size, help="drop boxes with a shorter side, px (default: 1)")
    add(
        "--near-duplicate-bits",
        type=int,
        default=defaults.near_duplicate_bits,
        help="pictures whose 128-bit hashes differ by at most this stay on one side; -1 is off (default: %(default)s)",
    )
    add(
        "--clips",
        help=r"regular expression for frames of a clip, e.g. '(.*)_\d+' (default: names that video tools give)",
    )
    add("--keep-unlabelled", action="store_true", help="keep images that no annotation names, as background")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--copy", dest="link", action="store_false", default=False, help="copy the images (the default)")
    how.add_argument("--link", action="store_true", help="hard-link the images: no space, same file system only")
    add("--exist-ok", action="store_true", help="write into a folder that holds other files")


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected shares between commas, e.g. 0.8,0.1,0.1, but got {text}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; a user's mistake gives one line on stderr and exit code 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with signals_as_ctrl_c():
            print(printable_lines(_three_way(words[1:]) if words[:1] == ["three-way"] else _run(words)))
    except ValueError as error:
        print(printable_lines(f"python -m data.convert: error: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("interrupted; nothing is lost, run the same command again and it goes on", file=sys.stderr)
        return stop.code if isinstance(stop, Terminated) else 130
    return 0


def _three_way(words: Sequence[str]) -> str:
    parser = argparse.ArgumentParser(prog="python -m data.convert three-way", description=three_way.__doc__)
    three_way.add_arguments(parser)
    return three_way.split_three_ways(**vars(parser.parse_args(words)))


def _run(words: Sequence[str]) -> str:
    parser = build_parser()
    given = vars(parser.parse_intermixed_args(words))
    own = {name: [(flag, given.pop(flag)) for flag in module.OPTIONS] for name, module in FORMATS.items()}
    *named, source = given.pop("words")
    if len(named) > 1 or (named and named[0] not in FORMATS):
        raise ValueError(f"{' '.join(named)}: expected one of the formats {', '.join(FORMATS)} before SOURCE")
    to, out = given.pop("to"), given.pop("out")
    if to is not None:
        return way_back.write(Path(source), to, out, link=given["link"], exist_ok=given["exist_ok"])
    if out is None:
        raise ValueError("--out: expected the folder to write, e.g. --out datasets/roadsigns")
    given["names"] = tuple(name.strip() for name in given["names"].split(",")) if given["names"] else ()
    options = Options(source=Path(source), out=out, **given)
    prepare(options)
    with opened(options.source, out) as files:
        form = named[0] if named else _detected(files)
        _refuse_others(parser, own, form)
        module, flags = FORMATS[form], dict(own[form])
        return convert(options, files, partial(module.read, **flags), {"format": form, **flags})


def _detected(source: Source) -> str:
    for name, module in FORMATS.items():
        shows = module.detect(source)
        if shows:
            print(printable(f"format: {name}, because of {shows}"))
            return name
    kinds = ", ".join(sorted({path.suffix or path.name for path in source.files})[:8]) or "nothing"
    raise ValueError(
        f"{source.folder}: the format shows in no file ({kinds} found); name it before SOURCE: {', '.join(FORMATS)}"
    )


def _refuse_others(parser: argparse.ArgumentParser, own: dict[str, list[tuple[str, Any]]], form: str) -> None:
    """Refuse the flags of other formats, which would change nothing."""
    for name, flags in own.items():
        for flag, value in flags:
            if name != form and value != parser.get_default(flag):
                raise ValueError(f"--{flag.replace('_', '-')}: is of the format {name}, but this is {form}")


if __name__ == "__main__":
    raise SystemExit(main())
