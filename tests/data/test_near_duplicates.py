"""Which pictures show the same scene."""

from collections import Counter

import cv2
import numpy as np
import pytest

from data import near_duplicates
from data.images import read_image
from data.near_duplicates import fingerprint, near_duplicate_groups, origin, same_groups
from tests.support.voc_folders import picture


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


def test_sorted_lists_find_what_comparing_all_pairs_finds(monkeypatch):
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (3000, 128), dtype=np.uint8)
    for i in range(0, 3000, 3):  # a copy at the bound, and one of its own much nearer
        for copy, changed in ((1, 28), (2, 8)):
            bits[i + copy] = bits[i]
            bits[i + copy, rng.choice(128, changed, replace=False)] ^= 1
    prints = np.packbits(bits, axis=1).view(np.uint64)
    exact = near_duplicate_groups(prints)
    assert exact[:6].tolist() == [0, 0, 0, 3, 3, 3]
    monkeypatch.setattr(near_duplicates, "_EXACT", 100)
    sorted_lists = near_duplicate_groups(prints)
    assert (sorted_lists == exact).mean() >= 0.98
    assert (sorted_lists[2::3] == exact[2::3]).all()  # the near ones, whatever the order
    assert all(exact[a] == exact[b] for a, b in enumerate(sorted_lists))  # nothing joined that is not near


def test_many_equal_or_nearly_equal_pictures_are_one_group(monkeypatch):
    monkeypatch.setattr(near_duplicates, "_EXACT", 100)
    assert set(near_duplicate_groups(np.zeros((5000, 2), np.uint64)).tolist()) == {0}
    few_bits = np.zeros((3000, 128), np.uint8)
    few_bits[:, :12] = np.random.default_rng(0).integers(0, 2, (3000, 12))
    assert set(near_duplicate_groups(np.packbits(few_bits, axis=1).view(np.uint64)).tolist()) == {0}
    assert near_duplicate_groups(np.zeros((0, 2), np.uint64)).tolist() == []


def test_groupings_are_joined_by_hand():
    # 0-1 by the first, 1-2 by the second; 3 alone; 4-5 by both.
    assert same_groups(np.array([7, 7, 2, 3, 5, 5]), np.array([0, 1, 1, 9, 4, 4])).tolist() == [0, 0, 0, 3, 4, 4]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("day/drive_mp4-12_jpg.rf.0123456789abcdef0123456789abcdef.jpg", "day/drive_mp4"),
        ("drive.mp4_0012.png", "drive.mp4"),
        ("drive_frame_000012.png", "drive"),
        ("clip7/frame_000012", "clip7"),
        ("stop_png.rf.0123456789abcdef0123456789abcdef.jpg", "stop_png"),
        ("road12.png", "road12"),
        ("00012.ppm", "00012"),
        ("v1.2/a.b", "v1.2/a.b"),
        ("picture_frame", "picture_frame"),
    ],
)
def test_names_of_frames_and_copies(name, expected):
    assert origin(name) == expected


@pytest.mark.slow
def test_public_sets_hold_the_known_near_duplicates(shared):
    files = sorted((shared / "data" / "roadsign877" / "images").rglob("*.jpg"))
    groups = near_duplicate_groups(np.stack([fingerprint(read_image(file)) for file in files]))
    sizes = Counter(Counter(groups.tolist()).values())
    assert sizes[1] > 750  # most pictures stand alone
    assert 30 <= sum(number for size, number in sizes.items() if size > 1) <= 60
    assert max(sizes) <= 8  # no chain that swallows the set
