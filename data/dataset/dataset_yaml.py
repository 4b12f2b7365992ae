"""Data set YAMLs: where the images are and what the classes are called.

The layout is YOLOv5's: `path`, `train`, `val`, `test` (a folder, a pattern, a .txt of image paths, or a list of those),
`names` (a list or a mapping). `label_place` says where the labels are looked for. An entry `download:` is shown to the
user and never run; `hyp:` names the hyperparameters to train with unless others are asked for. Entries with other names
are left to the tools that wrote them, unless they look like a misspelling of one of ours.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from data.dataset.image_files import image_files, is_there
from files.find import ROOT, find_file
from files.kinds import is_dict, is_list
from files.paths import is_file
from files.text import shown
from files.yaml_file import read_yaml

FOLDER = Path(__file__).resolve().parents[1]
SPLITS = ("train", "val", "test")
_KEYS = ("path", *SPLITS, "names", "nc", "download", "synth", "hyp")


@dataclass(frozen=True)
class DatasetSpec:
    """What a data set YAML says, with every path resolved.

    `train`, `val` and `test` hold folders, patterns, .txt files and images, empty where the YAML has no such entry.
    `names` and `nc` are what a model is built for; with `single_cls` that is one class, while `file_names` stay those
    of the label files. `synth` are the options of a generated set, whose images `drawn` makes sure of.
    """

    path: Path
    train: tuple[Path, ...]
    val: tuple[Path, ...]
    test: tuple[Path, ...]
    names: dict[int, str]
    nc: int
    file: Path
    file_names: dict[int, str]
    download: str | None = None
    hyp: str | None = None
    synth: Mapping[str, object] | None = None

    @property
    def file_nc(self) -> int:
        """The number of classes that the label files may use."""
        return len(self.file_names)

    def drawn(self) -> DatasetSpec:
        """The same, after the images of a generated set are made where they are missing."""
        if self.synth is not None:
            from data.synth import ensure

            ensure(self.path, self.synth)
        return self

    def entries(self, split: str) -> tuple[Path, ...]:
        """Return the folders and .txt files of a split.

        Args:
            split: "train", "val" or "test".

        Raises:
            ValueError: If the split is unknown, not in the YAML, or its files are missing.
        """
        if split not in SPLITS:
            raise ValueError(f"Expected split to be one of {', '.join(SPLITS)} but got {split!r}")
        entries: tuple[Path, ...] = getattr(self, split)
        if not entries:
            raise ValueError(f"{self.file}: has no `{split}:` entry; add one, a folder of images below {self.path}")
        missing = [entry for entry in entries if not is_there(entry)]
        if missing:
            raise ValueError(_missing_text(self.file, split, missing, [self.path], self.download))
        return entries


def load_dataset_spec(name_or_path: str | Path, *, single_cls: bool = False) -> DatasetSpec:
    """Read a data set YAML and find its images.

    A relative `path:` is tried from the working directory, from the YAML's folder and its parent, from the repository
    and from its `datasets` folder and the one beside it; the first of these that holds one of the splits is taken.

    Args:
        name_or_path: A path, or the name of a YAML in `data/`, with or without `.yaml`.
        single_cls: Treat all objects as one class.

    Returns:
        The data set; at least one split exists. A YAML with a `synth:` mapping has had its images generated.

    Raises:
        ValueError: If the file is missing or wrong, or no split can be found; lists the places tried.
    """
    return read_dataset_spec(name_or_path, single_cls=single_cls).drawn()


def read_dataset_spec(name_or_path: str | Path, *, single_cls: bool = False) -> DatasetSpec:
    """`load_dataset_spec` without drawing anything, for what is to be known before that."""
    file = find_dataset(name_or_path)
    content = _read(file)
    file_names = names = class_names(content, file)
    if single_cls:
        names = {0: names[0] if len(names) == 1 else "item"}
    texts = {split: _entry_texts(content, split, file) for split in SPLITS}
    if not any(texts.values()):
        raise ValueError(f"{file}: Expected at least one of `train:`, `val:` and `test:`, a folder of images each")
    download = content.get("download")
    download = str(download).strip() if download else None
    roots = _candidate_roots(content.get("path"), file)
    root = _first_with_images(roots, texts)
    home = _home(content.get("path"), file)
    synth = content.get("synth")
    if root is None and synth is not None:
        root = home
    if root is None:
        missing = [home / text for entries in texts.values() for text in entries]
        raise ValueError(_missing_text(file, "", missing, [*roots, home], download))
    train, val, test = (tuple(_below(root, text, synth is not None) for text in texts[split]) for split in SPLITS)
    hyp = _hyp(content, file)
    return DatasetSpec(root, train, val, test, names, len(names), file, file_names, download, hyp, synth)


def list_images(entries: Iterable[Path], *, root: Path | None = None) -> list[str]:
    """List the image files of a split by their suffix.

    Args:
        entries: Folders, searched to any depth, patterns, images, and .txt files with one path a row, relative to the
            .txt file, the working directory or `root`.
        root: Folder of the data set.

    Returns:
        Paths in sorted order, each once. Rows of a .txt file are listed whether the image exists or not.

    Raises:
        ValueError: If an entry is missing, no image is found, or a .txt file is not UTF-8.
    """
    from data.images import IMAGE_SUFFIXES

    entries = list(entries)
    files = {file for entry in entries for file in image_files(entry, root)}
    images = sorted(file for file in files if os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES)
    if not images:
        places = ", ".join(str(entry) for entry in entries)
        raise ValueError(f"{places}: no images; Expected files ending in {' '.join(IMAGE_SUFFIXES)}")
    return images


def find_dataset(name_or_path: str | Path) -> Path:
    """The YAML of a path, or of a name in `data/`.

    Raises:
        ValueError: If there is none.
    """
    return find_file(name_or_path, (FOLDER,), "data set").resolve()


def _read(file: Path) -> dict[str, Any]:
    content = read_yaml(file)
    if not is_dict(content):
        raise ValueError(f"{file}: Expected `path:`, `train:`, `val:` and `names:` but got a {type(content).__name__}")
    for key in content:
        nearest = get_close_matches(str(key).lower(), _KEYS, n=1, cutoff=0.75)
        if key not in _KEYS and nearest and nearest[0] not in content:
            raise ValueError(f"{file}: unknown entry `{key}:`; did you mean `{nearest[0]}:`?")
    if "synth" in content and not isinstance(content["synth"], Mapping):
        raise ValueError(f"{file}: Expected `synth:` to be a mapping of options but got {shown(content['synth'])}")
    return content


def _hyp(content: Mapping[str, object], file: Path) -> str | None:
    """A path where the file lies beside the YAML, else the name as it is."""
    given = content.get("hyp")
    if given is not None and not isinstance(given, str):
        raise ValueError(f"{file}: hyp: Expected the name of a hyperparameter file but got {given!r}")
    beside = file.parent / given if given else None
    return str(beside) if beside and is_file(beside) else given


def class_names(content: Mapping[str, object], file: Path) -> dict[int, str]:
    """The class names by index, as the content of a data set YAML gives them.

    Raises:
        ValueError: If there are none, or they are no list and no mapping numbered from 0; names `file`.
    """
    given = content.get("names")
    if is_list(given):
        given = dict(enumerate(given))
    if not is_dict(given) or not given:
        raise ValueError(
            f"{file}: Expected `names:` to be a list or a mapping of class names, e.g. [car, truck], but got "
            f"{shown(given)}"
        )
    for key, name in given.items():
        if isinstance(key, bool) or not isinstance(key, int):
            raise ValueError(f"{file}: names: Expected whole numbers as keys, as in `2: car`, but got {shown(key)}")
        if isinstance(name, bool) or not isinstance(name, (str, int, float)):
            raise ValueError(f"{file}: names: {key}: Expected text but got {shown(name)}; put the name in quotes")
    gaps = [index for index in range(len(given)) if index not in given]
    if gaps:
        extra = sorted(key for key in given if not 0 <= key < len(given))
        raise ValueError(
            f"{file}: names: {len(given)} classes must be numbered 0 to {len(given) - 1}, "
            f"but {', '.join(map(str, gaps))} is missing (found {', '.join(map(str, extra))} instead)"
        )
    nc = content.get("nc", len(given))
    if nc != len(given) or isinstance(nc, bool):
        raise ValueError(
            f"{file}: `nc: {nc}` disagrees with `names:`, which has {len(given)} classes; leave `nc:` out, since "
            "the names are counted, or correct them"
        )
    return {index: str(given[index]) for index in range(len(given))}


def _entry_texts(content: Mapping[str, object], split: str, file: Path) -> list[str]:
    given = content.get(split)
    if given in (None, "", []):
        return []
    texts: list[Any] = given if is_list(given) else [given]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(
            f"{file}: {split}: Expected a folder, a pattern, a .txt file or a list of those but got {shown(given)}"
        )
    return list(texts)


def _candidate_roots(path: object, file: Path) -> list[Path]:
    """Return where `path:` may point, in the order in which to look."""
    if path is not None and not isinstance(path, str):
        raise ValueError(f"{file}: path: Expected a folder but got {path!r}")
    given = Path(path or ".").expanduser()
    if given.is_absolute():
        return [given]
    bases = [Path.cwd(), file.parent]
    if path and given.name == file.parent.name:
        bases.append(file.parent.parent)  # the YAML lies inside the data set it describes
    bases += [ROOT, ROOT / "datasets", ROOT.parent / "datasets"]
    roots = [Path(os.path.normpath(base / given)) for base in bases]
    return list(dict.fromkeys(roots))


def _home(path: object, file: Path) -> Path:
    """Return where data that is nowhere yet belongs: in `datasets/` for our own YAMLs, else beside the YAML."""
    given = Path(str(path or ".")).expanduser()
    if not file.is_relative_to(ROOT):
        base = file.parent
    else:
        base = ROOT if given.parts[:1] in ((".",), ("..",), ("datasets",)) else ROOT / "datasets"
    return Path(os.path.normpath(base / given))


def _below(root: Path, text: str, generated: bool = False) -> Path:
    """Resolve one entry of a split; exports that say `../train/images` often mean `train/images`."""
    path = Path(os.path.normpath(root / text))
    if text.startswith("../") and not is_there(path):
        inner = Path(os.path.normpath(root / text[3:]))
        return inner if generated or is_there(inner) else path
    return path


def _first_with_images(roots: Iterable[Path], texts: Mapping[str, list[str]]) -> Path | None:
    for root in roots:
        if any(is_there(_below(root, text)) for entries in texts.values() for text in entries):
            return root
    return None


def _missing_text(file: Path, split: str, missing: list[Path], roots: list[Path], download: str | None) -> str:
    named = f"`{split}:` " if split else ""
    lines = [f"{file}: {named}images not found: {', '.join(map(str, missing))}"]
    if len(roots) > 1:
        lines.append(f"looked in {', '.join(map(str, dict.fromkeys(roots)))}")
    wrong = f"`path:` or `{split}:`" if split else "`path:`"
    lines.append(f"put the data in {roots[-1]} or correct {wrong}")
    if download:
        shown = download if len(download) <= 200 else download[:200] + " ..."
        lines.append(f"the file names as its source (never run from here; fetch it yourself): {shown}")
    return "; ".join(lines)
