"""The lines of train.py: at most five, what the whole doctor says too, and none of a clean set."""

from pathlib import Path

import numpy as np

from analysis.doctor.brief import brief
from benchmarks.studies.planted_faults import set_text
from data.dataset.dataset_yaml import load_dataset_spec
from data.hyp import Hyperparameters
from data.loading.loader import create_loader


def lines_of(root: Path) -> list[str]:
    spec = load_dataset_spec(root / "set.yaml")
    read = {
        split: create_loader(spec, split, image_px=64, batch_size=2, workers=0, progress=False).dataset
        for split in ("train", "val")
    }
    return brief(spec, read, 640, Hyperparameters())


def test_at_most_five_lines_that_agree_with_the_doctor(planted: Path, look) -> None:
    first, second, *_ = sorted((planted / "images/train").iterdir())
    set_text(first, "0 0.5 0.5 1 1\n1 0.5 0.5 1 1\n0 0.99 0.5 0.2 0.2\n0 0.5 0.5 0.002 0.2\n")
    set_text(second, "0 0.1 0.1 0.2 0.1 0.2 0.4\n")
    lines = lines_of(planted)
    assert len(lines) == 5
    assert lines[-1].endswith(f"python -m analysis.doctor {planted / 'set.yaml'} --img 640")
    found = {finding.check.title: finding.found.count for finding in look(planted, pixels=False).findings}
    for line in lines[:-1]:
        title, _, count = line.removeprefix("Labels: warning: ").partition(": ")
        assert found[title] == int(count.partition(" ")[0])


def test_a_clean_set_gets_no_line(planted: Path) -> None:
    random = np.random.default_rng(0)
    for image in (planted / "images").rglob("*.jpg"):
        rows = np.column_stack((random.uniform(0.3, 0.7, (25, 2)), random.uniform(0.1, 0.5, (25, 2))))
        set_text(image, "".join(f"{i % 5} " + " ".join(map(str, row)) + "\n" for i, row in enumerate(rows.tolist())))
    assert lines_of(planted) == []
