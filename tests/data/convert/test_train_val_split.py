from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.convert.records import Example, SourceBox
from data.convert.train_val_split import assign_splits

SHARES = {"train": 0.8, "val": 0.2, "test": 0.0}


def example(name, labels=()):
    boxes = tuple(SourceBox(label, (0.0, 0.0, 5.0, 5.0)) for label in labels)
    return Example(Path(name), name, 10, 10, boxes, np.zeros(2, dtype=np.uint64))


def test_split_is_balanced_by_class_and_keeps_groups_whole():
    rng = np.random.default_rng(0)
    labels = ["common"] * 400 + ["some"] * 80 + ["rare"] * 20
    examples = [example(f"img{i:03}", [label] * int(rng.integers(1, 4))) for i, label in enumerate(labels)]
    groups = np.arange(500) // 2 * 2
    sides = assign_splits(examples, groups, ["common", "some", "rare"], SHARES, seed=0)
    assert all(sides[i] == sides[i + 1] for i in range(0, 500, 2))
    assert sides.count("val") == pytest.approx(100, abs=4)
    boxes = Counter((side, box.label) for one, side in zip(examples, sides, strict=True) for box in one.boxes)
    for label in ("common", "some", "rare"):
        share = boxes["val", label] / (boxes["val", label] + boxes["train", label])
        assert share == pytest.approx(0.2, abs=0.02), label


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_split_depends_on_images_and_seed_but_not_on_their_order(seed, shuffler):
    examples = [example(f"img{i}", ["a", "b", "c"][: 1 + i % 3]) for i in range(24)]
    names = ["a", "b", "c"]
    groups = np.arange(24) // 3 * 3
    first = dict(zip((one.name for one in examples), assign_splits(examples, groups, names, SHARES, seed), strict=True))
    order = list(range(24))
    shuffler.shuffle(order)
    position = {index: place for place, index in enumerate(order)}
    shuffled_groups = np.array([min(position[j] for j in range(24) if j // 3 == i // 3) for i in order])
    shuffled = [examples[i] for i in order]
    again = assign_splits(shuffled, shuffled_groups, names, SHARES, seed)
    assert dict(zip((one.name for one in shuffled), again, strict=True)) == first


def test_seed_and_shares_matter():
    examples = [example(f"img{i}", ["a"]) for i in range(50)]
    groups = np.arange(50)
    first = assign_splits(examples, groups, ["a"], SHARES, 0)
    assert assign_splits(examples, groups, ["a"], SHARES, 1) != first
    with_test = assign_splits(examples, groups, ["a"], {"train": 0.6, "val": 0.2, "test": 0.2}, 0)
    assert Counter(with_test) == {"train": 30, "val": 10, "test": 10}
    assert set(assign_splits(examples, groups, ["a"], {"train": 1.0, "val": 0.0, "test": 0.0}, 0)) == {"train"}


def test_tiny_sets_leave_no_side_empty_and_impossible_ones_say_so():
    two = [example("a", ["x"]), example("b", ["x"])]
    assert sorted(assign_splits(two, np.array([0, 1]), ["x"], SHARES, 0)) == ["train", "val"]
    with pytest.raises(ValueError, match=r"2 images in 1 groups of near-duplicates, .*, cannot be split into 2 sides"):
        assign_splits(two, np.array([0, 0]), ["x"], SHARES, 0)


@pytest.mark.parametrize("seed", range(4))
def test_classes_that_occur_together_are_balanced_too(seed):
    rng = np.random.default_rng(seed)
    names = ["a", "b", "c", "d"]
    chances = (0.7, 0.25, 0.15, 0.1)
    drawn = [[n for n, p in zip(names, chances, strict=True) if rng.random() < p] for _ in range(800)]
    examples = [example(f"img{i}", labels) for i, labels in enumerate(drawn)]
    sides = assign_splits(examples, np.arange(800), names, SHARES, seed)
    for name in names:
        inside = [side for side, labels in zip(sides, drawn, strict=True) if name in labels]
        assert inside.count("val") / len(inside) == pytest.approx(0.2, abs=0.02), name
