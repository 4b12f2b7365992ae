from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.convert.records import Example, SourceBox
from data.convert.train_val_split import assign_splits, fingerprint, near_duplicate_groups
from data.images import read_image
from tests.support.voc_folders import picture

SHARES = {"train": 0.8, "val": 0.2, "test": 0.0}


def example(name, labels=()):
    boxes = tuple(SourceBox(label, (0.0, 0.0, 5.0, 5.0)) for label in labels)
    return Example(Path(name), name, 10, 10, boxes, np.zeros(2, dtype=np.uint64))


def bits_between(a, b):
    return int(np.bitwise_count(fingerprint(a) ^ fingerprint(b)).sum())


def test_fingerprint_by_hand():
    # Brightness rises to the right and is constant downwards: 64 ones, then 64 zeros.
    ramp = np.repeat(np.tile(np.arange(0, 252, 28, dtype=np.uint8), (90, 1)).repeat(10, 1)[..., None], 3, axis=2)
    assert fingerprint(ramp).tolist() == [2**64 - 1, 0]
    assert fingerprint(ramp.transpose(1, 0, 2)).tolist() == [0, 2**64 - 1]


def test_fingerprint_survives_scaling_and_compression_but_tells_pictures_apart():
    original = picture(1, 320, 240)
    smaller = cv2.resize(original, (200, 150), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", original, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    brighter = np.clip(original.astype(int) + 12, 0, 255).astype(np.uint8)
    for copy in (smaller, cv2.imdecode(encoded, cv2.IMREAD_COLOR), brighter):
        assert bits_between(original, copy) <= 10
    others = [bits_between(original, picture(seed, 320, 240)) for seed in range(2, 22)]
    assert min(others) > 35


def test_grouping_links_chains_and_equals_a_slow_reference():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (60, 128))
    for i in range(0, 60, 4):  # chains of three: each 6 bits from the one before
        for step in (1, 2):
            bits[i + step] = bits[i]
            bits[i + step, : 6 * step] ^= 1
    prints = np.packbits(bits.astype(bool), axis=1).view(np.uint64)
    groups = near_duplicate_groups(prints, 6)
    expected = list(range(60))
    distance = (bits[:, None] != bits[None]).sum(-1)
    for _ in range(60):
        for i in range(60):
            expected[i] = min(expected[j] for j in range(60) if distance[i, j] <= 6)
    assert groups.tolist() == expected
    assert groups[0] == groups[1] == groups[2] != groups[3]
    assert near_duplicate_groups(prints, -1).tolist() == list(range(60))


def test_small_blocks_give_the_same_groups(monkeypatch):
    prints = np.random.default_rng(1).integers(0, 2**64, (50, 2), dtype=np.uint64)
    prints[40:] = prints[:10]
    whole = near_duplicate_groups(prints)
    monkeypatch.setattr("data.convert.train_val_split._BLOCK_BYTES", 1)
    assert near_duplicate_groups(prints).tolist() == whole.tolist()
    assert whole[40:].tolist() == list(range(10))


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
    with pytest.raises(ValueError, match="2 images in 1 groups of near-duplicates cannot be split into 2 sides"):
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


@pytest.mark.slow
def test_public_sets_hold_the_known_near_duplicates(shared):
    files = sorted((shared / "data" / "roadsign877" / "images").rglob("*.jpg"))
    groups = near_duplicate_groups(np.stack([fingerprint(read_image(file)) for file in files]))
    sizes = Counter(Counter(groups.tolist()).values())
    assert sizes[1] > 750  # most pictures stand alone
    assert 30 <= sum(number for size, number in sizes.items() if size > 1) <= 60
    assert max(sizes) <= 8  # no chain that swallows the set
