"""`python -m data.convert three-way DATA.yaml --out FOLDER`: a test split for a set that has train and val alone.

What was val becomes test, so that figures stay comparable with earlier ones, and a new val is taken out of train: near
duplicates stay on one side, and the classes are balanced, as in a conversion. No image is copied; the folder gets two
lists and a YAML.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from pathlib import Path

import numpy as np
import yaml

from data.convert.records import Example, SourceBox
from data.convert.train_val_split import assign_splits
from data.dataset.dataset_yaml import DatasetSpec, list_images, load_dataset_spec
from data.dataset.label_scan import scan_labels
from data.images import read_image
from data.near_duplicates import NEAR_DUPLICATE_BITS, fingerprint, near_duplicate_groups

SUMMARY = "make val the test split and take a new val out of train, as lists"


def add_arguments(parser: ArgumentParser) -> None:
    """The subcommand's flags."""
    add = parser.add_argument
    add("data", help="a dataset YAML with train and val")
    add("--out", type=Path, required=True, help="the folder to write, e.g. datasets/roadsigns_3")
    add("--val", type=float, default=0.15, help="share of train for the new val (default: %(default)s)")
    add("--seed", type=int, default=0, help="another seed gives another split (default: %(default)s)")


def split_three_ways(data: str, out: Path, val: float, seed: int) -> str:
    """Write `train.txt`, `val.txt` and `<name of out>.yaml`.

    Args:
        data: A dataset YAML with train and val.
        out: The folder to write, new or empty.
        val: Share of train for the new val.
        seed: Another seed gives another split.

    Returns:
        A line for the user.

    Raises:
        ValueError: If the set has a test split, an image or label is missing, or `out` holds files.
    """
    if not 0 < val < 1:
        raise ValueError(f"--val {val}: expected a share between 0 and 1, e.g. 0.15")
    dataset = load_dataset_spec(data)
    if dataset.test:
        raise ValueError(f"{dataset.file}: has a test split already; compare.py --task test takes it as it is")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out}: the folder is not empty; choose another")
    test = dataset.entries("val")
    examples = _examples(dataset)
    groups = near_duplicate_groups(np.stack([one.fingerprint for one in examples]), NEAR_DUPLICATE_BITS)
    sides = assign_splits(examples, groups, list(dataset.names.values()), {"train": 1 - val, "val": val}, seed)
    out.mkdir(parents=True, exist_ok=True)
    content = {"path": str(dataset.path)}
    for split in ("train", "val"):
        rows = [f"{one.name}\n" for one, side in zip(examples, sides, strict=True) if side == split]
        (out / f"{split}.txt").write_text("".join(rows), encoding="utf-8")
        content[split] = str((out / f"{split}.txt").resolve())
    content |= {"test": [str(entry) for entry in test], "names": dataset.names}
    content |= {"hyp": dataset.hyp} if dataset.hyp else {}
    file = out / f"{out.resolve().name}.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    counts = Counter(sides)
    return f"{counts['train']} train, {counts['val']} val, test is the former val; written to {file}"


def _examples(dataset: DatasetSpec) -> list[Example]:
    """The images of train that can be read, each named by its path below the data set's folder."""
    scan = scan_labels(list_images(dataset.entries("train"), root=dataset.path), dataset.file_nc, split="train")
    examples = []
    for path, rows in zip(scan.paths, scan.labels, strict=True):
        picture, image = read_image(path), Path(path)
        boxes = tuple(SourceBox(dataset.names[int(row[0])], tuple(row[1:])) for row in rows.tolist())
        name = image.relative_to(dataset.path) if image.is_relative_to(dataset.path) else image
        examples.append(
            Example(image, name.as_posix(), picture.shape[1], picture.shape[0], boxes, fingerprint(picture))
        )
    return examples
