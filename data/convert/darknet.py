"""What darknet's obj.data, or a list of class names beside lists of images, says, as a data set YAML says it."""

from __future__ import annotations

from pathlib import Path

from data.convert.source import Source, lines_of
from data.dataset.dataset_yaml import SPLITS

_NAMES = ("obj.names", "classes.names", "classes.txt", "_darknet.labels")


def names_files(source: Source) -> list[Path]:
    """The files that list class names, one a row."""
    return [path for path in source.files if path.name in _NAMES]


def of_names(source: Source, names: Path) -> dict[str, object]:
    """Of a list of names; the sides are the train.txt, val.txt and test.txt that lie there."""
    sides = {
        path.stem: str(source.short(path)) for path in source.files if path.name in {f"{one}.txt" for one in SPLITS}
    }
    return {**sides, "names": lines_of(names)}


def of_data(source: Source, file: Path) -> dict[str, object]:
    """Of an obj.data, whose rows are `key = value`."""
    told = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines_of(file))}
    named = source.file(told.get("names", ""), file) or next(iter(names_files(source)), None)
    return {"val": told.get("valid"), **told, "names": lines_of(named) if named else None}
