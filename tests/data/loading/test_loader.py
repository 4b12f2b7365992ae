"""Batches: shapes, determinism, rect shapes, caches, unreadable images, every augmentation setting."""

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import data.augmentation.pixel_transforms
import data.loading.decoded_image_cache
import data.loading.samples
from data.boxes import convert_boxes
from data.dataset.dataset_yaml import DatasetSpec, load_dataset_spec
from data.hyp import Hyperparameters
from data.images import FILL, letterbox, read_image, unletterbox
from data.loading.loader import Batch, create_loader

Build = Callable[..., Path]
BOX = [0, 0.5, 0.5, 0.4, 0.4]
STILL = Hyperparameters(
    hsv_h=0, hsv_s=0, hsv_v=0, translate=0, scale=0, fliplr=0, mosaic=0
)  # no augmentation of our own


@pytest.fixture
def no_pixel_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.augmentation.pixel_transforms, "PROBABILITY", 0.0)


@pytest.fixture
def spec(build_set: Build) -> DatasetSpec:
    """Nine images of different shapes, two classes."""
    sizes = [(40, 60), (60, 40), (64, 64), (30, 90), (90, 30), (50, 60), (60, 50), (48, 64), (64, 48)]
    images = {
        f"{number}.png": (size, [[number % 2, 0.4 + number / 50, 0.5, 0.3, 0.4], [1, 0.2, 0.2, 0.2, 0.2]])
        for number, size in enumerate(sizes)
    }
    return load_dataset_spec(build_set(images))


def loader(spec: DatasetSpec, **options: object) -> DataLoader[Batch]:
    return create_loader(spec, **{"image_px": 64, "batch_size": 4, "workers": 0, "progress": False, **options})


def assert_same_batches(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        torch.testing.assert_close(one.images, two.images, rtol=0, atol=0)
        torch.testing.assert_close(one.targets, two.targets, rtol=0, atol=0)
        assert one[2:] == two[2:]


def test_batches_have_the_promised_form(spec: DatasetSpec) -> None:
    batches = list(loader(spec, augment=True, hyp=Hyperparameters(mixup=0.5)))
    assert [len(batch.images) for batch in batches] == [4, 4, 1]
    for batch in batches:
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape[1:] == (3, 64, 64)
        assert batch.targets.dtype == torch.float32
        assert batch.targets.shape[1] == 6
        assert len(batch.paths) == len(batch.shapes) == len(batch.images)
        assert batch.targets[:, 0].tolist() == sorted(batch.targets[:, 0].tolist())
        corners = convert_boxes(batch.targets[:, 2:], "cxcywh_norm", "xyxy_norm")
        assert corners.min() >= 0
        assert corners.max() <= 1
    assert sorted(path for batch in batches for path in batch.paths) == sorted(loader(spec).dataset.paths)


def test_images_without_objects_only(build_set: Build) -> None:
    spec = load_dataset_spec(build_set({"a.png": ((20, 20), None), "b.png": ((20, 20), "")}))
    batch = next(iter(loader(spec)))
    assert batch.targets.shape == (0, 6)
    with pytest.raises(ValueError, match=r"no labels to train on; the label files hold none; .*labels/train/a\.txt"):
        loader(spec, augment=True)


def test_validation_maps_boxes_back_to_the_label_file(spec: DatasetSpec) -> None:
    validation = loader(spec, split="val")
    for batch in validation:
        for position, (path, shape) in enumerate(zip(batch.paths, batch.shapes, strict=True)):
            height, width = read_image(path).shape[:2]
            assert shape.original_hw == (height, width)
            targets = batch.targets[batch.targets[:, 0] == position]
            boxes = convert_boxes(targets[:, 2:], "cxcywh_norm", "xyxy_px", 64, 64)
            original = unletterbox(boxes, shape.original_hw, shape.ratio, shape.pad_xy, clip=False)
            number = validation.dataset.paths.index(path)
            expected = convert_boxes(validation.dataset.labels[number][:, 1:], "cxcywh_norm", "xyxy_px", width, height)
            resized_w = validation.dataset.resized_hw[number][1]
            expected[:, 0::2] *= resized_w / width / shape.ratio  # one ratio, of the heights, serves both axes
            np.testing.assert_allclose(original.numpy(), expected, atol=1e-3)
            np.testing.assert_allclose(shape.ratio, 64 / max(height, width), rtol=0.04)


def test_small_images_are_enlarged_and_letterboxed(spec: DatasetSpec) -> None:
    batch = next(iter(loader(spec)))
    image = read_image(batch.paths[0])  # 40 x 60 -> 43 x 64
    expected = letterbox(data.loading.samples.cv2.resize(image, (64, 43)), 64).image
    np.testing.assert_array_equal(batch.images[0].permute(1, 2, 0).numpy(), expected)
    assert batch.shapes[0].ratio == pytest.approx(43 / 40)
    assert batch.shapes[0].pad_xy == (0, 10.5)


@pytest.mark.usefixtures("no_pixel_transforms")
def test_large_images_shrink_by_area_for_validation_and_linearly_for_training(build_set: Build) -> None:
    spec = load_dataset_spec(build_set({"a.png": ((128, 128), [BOX])}))
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    data.images.write_image(loader(spec).dataset.paths[0], image)
    cv2 = data.loading.samples.cv2
    for augment, method in ((False, cv2.INTER_AREA), (True, cv2.INTER_LINEAR)):
        with_it = loader(spec, augment=augment, hyp=STILL, image_px=96)
        batch = next(iter(with_it))
        expected = cv2.resize(image, (96, 96), interpolation=method)
        np.testing.assert_array_equal(batch.images[0].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("augment", [False, True])
def test_workers_change_nothing_and_follow_the_epoch(spec: DatasetSpec, augment: bool) -> None:
    passes = {}
    for workers in (0, 1, 2):
        with_workers = loader(spec, augment=augment, hyp=Hyperparameters(mixup=0.5), workers=workers, seed=5)
        for epoch in (0, 3):  # the second pass reuses the workers
            with_workers.sampler.set_epoch(epoch)
            passes[workers, epoch] = list(with_workers)
    for epoch in (0, 3):
        assert_same_batches(passes[0, epoch], passes[1, epoch])
        assert_same_batches(passes[0, epoch], passes[2, epoch])
    if augment:
        assert not torch.equal(passes[0, 0][0].images, passes[0, 3][0].images)
    resumed = loader(spec, augment=augment, hyp=Hyperparameters(mixup=0.5), seed=5)
    resumed.sampler.set_epoch(3)
    assert_same_batches(list(resumed), passes[0, 3])


def test_the_seed_changes_order_and_augmentation(spec: DatasetSpec) -> None:
    first, second = (next(iter(loader(spec, augment=True, seed=seed))) for seed in (0, 1))
    assert first.paths != second.paths
    datasets = [loader(spec, augment=True, seed=seed).dataset for seed in (0, 1)]
    one, two, three = datasets[0][0, 0], datasets[1][0, 0], datasets[0][1, 0]
    assert not np.array_equal(one.image, two.image)
    assert not np.array_equal(one.image, three.image)  # the next epoch
    np.testing.assert_array_equal(one.image, datasets[0][0].image)


def test_boxes_end_just_inside_the_image(build_set: Build) -> None:
    spec = load_dataset_spec(build_set({"a.png": ((64, 64), [[0, 0.5, 0.5, 1, 1], [1, 0.1, 0.5, 0.4, 0.2]])}))
    targets = next(iter(loader(spec))).targets
    inside = 1 - 1e-3 / 64  # the original ends boxes a thousandth of a pixel before the border
    expected = [[0, 0, inside / 2, inside / 2, inside, inside], [0, 1, 0.15, 0.5, 0.3, 0.2]]
    torch.testing.assert_close(targets, torch.tensor(expected), rtol=0, atol=1e-6)


def test_global_random_states_are_left_alone(spec: DatasetSpec) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    list(loader(spec, augment=True, workers=1))
    torch.testing.assert_close(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


CHANGES = {
    "hsv_h": 0.5,
    "hsv_s": 0.9,
    "hsv_v": 0.9,
    "degrees": 40.0,
    "translate": 0.4,
    "scale": 0.9,
    "shear": 20.0,
    "perspective": 0.005,
    "flipud": 1.0,
    "fliplr": 1.0,
    "mosaic": 1.0,
}


@pytest.mark.parametrize("name", [*CHANGES, "mixup", "copy_paste"])
def test_every_augmentation_setting_changes_the_images(build_set: Build, name: str) -> None:
    polygon = "0 0.1 0.1 0.4 0.1 0.4 0.5 0.1 0.5\n"
    spec = load_dataset_spec(build_set({f"{n}.png": ((60, 50), polygon) for n in range(6)}))
    base = replace(STILL, mosaic=1.0 if name in ("mixup", "copy_paste") else 0.0)
    changed = replace(base, **{name: CHANGES.get(name, 1.0)})
    plain, other = (list(loader(spec, augment=True, hyp=hyp, shuffle=False)) for hyp in (base, changed))
    assert any(not torch.equal(a.images, b.images) for a, b in zip(plain, other, strict=True))


def test_hyperparameters_may_be_a_mapping(spec: DatasetSpec) -> None:
    hyp = Hyperparameters(degrees=10)
    assert_same_batches(list(loader(spec, augment=True, hyp=hyp)), list(loader(spec, augment=True, hyp=hyp.to_dict())))
    with pytest.raises(ValueError, match="unknown hyperparameter 'degree'"):
        loader(spec, augment=True, hyp={"degree": 10})


def test_settings_without_effect_are_said(spec: DatasetSpec, capsys: pytest.CaptureFixture[str]) -> None:
    loader(spec, augment=True, hyp=Hyperparameters(copy_paste=0.1), progress=True)
    assert "train: copy_paste 0.1 has no effect: no label row is a polygon" in capsys.readouterr().out


@pytest.mark.usefixtures("no_pixel_transforms")
def test_flips_and_no_warp_by_hand(build_set: Build) -> None:
    spec = load_dataset_spec(build_set({"a.png": ((64, 64), [[1, 0.3, 0.2, 0.2, 0.3]])}))
    hyp = replace(STILL, fliplr=1.0, flipud=1.0)
    batch = next(iter(loader(spec, augment=True, hyp=hyp)))
    np.testing.assert_allclose(batch.targets.numpy(), [[0, 1, 0.7, 0.8, 0.2, 0.3]], atol=1e-5)
    original = read_image(batch.paths[0])
    np.testing.assert_array_equal(batch.images[0].permute(1, 2, 0).numpy(), original[::-1, ::-1])


def test_rect_batches_by_hand(build_set: Build) -> None:
    sizes = {"a": (100, 50), "b": (90, 60), "c": (50, 100), "d": (40, 100), "e": (64, 64), "f": (60, 70)}
    spec = load_dataset_spec(build_set({f"{name}.png": (size, [BOX]) for name, size in sizes.items()}))
    with_rect = loader(spec, rect=True, batch_size=2, image_px=128)
    names = [[Path(path).stem for path in batch.paths] for batch in with_rect]
    assert names == [["d", "c"], ["f", "e"], ["b", "a"]]  # height / width: 0.4 0.5, 0.86 1, 1.5 2
    shapes = [tuple(batch.images.shape[2:]) for batch in with_rect]
    assert shapes == [(64, 128), (128, 128), (128, 96)]  # 0.5 * 128; both ways; 128 / 1.5 = 85.3 -> 96
    padded = [tuple(batch.images.shape[2:]) for batch in loader(spec, rect=True, batch_size=2, image_px=128, pad=0.5)]
    assert padded == [(96, 160), (160, 160), (160, 128)]  # (2 | 4 | 2.67) + 0.5 strides, rounded up
    wide = [
        tuple(batch.images.shape[2:]) for batch in loader(spec, rect=True, batch_size=2, image_px=128, stride_px=64)
    ]
    assert wide == [(64, 128), (128, 128), (128, 128)]
    first = next(iter(with_rect))
    assert (first.images[0, :, 0] == FILL).all()  # 40 x 100 -> 52 x 128 in 64 x 128
    assert first.shapes[0].pad_xy == (0, 6)


def test_rect_with_augmentation_keeps_the_batch_shapes_and_makes_no_mosaic(spec: DatasetSpec) -> None:
    plain = [batch.images.shape for batch in loader(spec, rect=True)]
    augmented = list(loader(spec, rect=True, augment=True, hyp=replace(STILL, mosaic=1.0)))
    assert [batch.images.shape for batch in augmented] == plain
    assert_same_batches(augmented, list(loader(spec, rect=True, augment=True, hyp=STILL)))


def test_single_class_and_chosen_classes(spec: DatasetSpec) -> None:
    everything = np.concatenate(loader(spec).dataset.labels)
    single = np.concatenate(loader(spec, single_cls=True).dataset.labels)
    assert (single[:, 0] == 0).all()
    np.testing.assert_array_equal(single[:, 1:], everything[:, 1:])
    ones = np.concatenate(loader(spec, classes=[1]).dataset.labels)
    np.testing.assert_array_equal(ones, everything[everything[:, 0] == 1])
    assert len(ones) < len(everything)
    with pytest.raises(ValueError, match="Expected classes from 0 to 1 but got 2"):
        loader(spec, classes=[2])


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("cache", ["ram", "disk"])
def test_a_cache_changes_nothing_but_the_decoding(
    spec: DatasetSpec, cache: str, augment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(loader(spec, augment=augment))
    cached = loader(spec, augment=augment, cache=cache)
    monkeypatch.setattr(data.loading.samples, "read_image", lambda path: pytest.fail(f"{path} was decoded again"))
    assert_same_batches(list(cached), expected)
    if cache == "disk":  # files of an earlier run serve the next
        assert_same_batches(list(loader(spec, augment=augment, cache="disk")), expected)


def test_a_cached_image_is_not_changed_by_augmentation(spec: DatasetSpec) -> None:
    cached = loader(spec, augment=True, cache="ram", hyp=replace(STILL, hsv_v=0.9, fliplr=0.5), image_px=96)
    before = cached.dataset.cache.block.clone()
    list(cached)
    torch.testing.assert_close(cached.dataset.cache.block, before)


def test_what_workers_have_read_stays_in_memory(spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = loader(spec, cache="auto", workers=2)
    assert not cached.dataset.cache.filled.any()
    assert_same_batches(list(cached), list(loader(spec)))
    monkeypatch.setattr(data.loading.samples, "read_image", lambda path: pytest.fail(f"{path} was decoded again"))
    again = [cached.dataset[index].image for index in range(len(cached.dataset))]
    monkeypatch.undo()
    plain = loader(spec).dataset
    np.testing.assert_array_equal(again, [plain[index].image for index in range(len(plain))])


def test_unasked_it_keeps_only_what_fits_easily(
    spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = int(loader(spec).dataset.resized_hw.prod(1).sum()) * 3
    capsys.readouterr()
    for factor, world, kept in ((3.9, 1, False), (4.0, 1, True), (7.9, 2, False)):
        monkeypatch.setattr(data.loading.decoded_image_cache, "free_memory", lambda factor=factor: int(needed * factor))
        assert (loader(spec, cache="auto", world=world).dataset.cache is not None) == kept
    assert "cache" not in capsys.readouterr().out
    monkeypatch.setattr(data.loading.samples, "workers_are_forked", lambda: False)
    assert loader(spec, cache="auto").dataset.cache is None


def test_workers_share_the_memory_cache(spec: DatasetSpec) -> None:
    cached = loader(spec, augment=True, cache="ram", workers=2)
    assert_same_batches(list(cached), list(loader(spec, augment=True)))


def test_without_memory_it_goes_on_without_a_cache(
    spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data.loading.decoded_image_cache, "free_memory", lambda: 1000)
    without = loader(spec, cache="ram")
    assert without.dataset.cache is None
    needed = int(without.dataset.resized_hw.prod(1).sum()) * 3
    monkeypatch.setattr(data.loading.decoded_image_cache, "free_memory", lambda: int(needed * 1.5))
    assert loader(spec, cache="ram").dataset.cache is not None
    assert loader(spec, cache="ram", world=2).dataset.cache is None
    assert "going on without a cache" in capsys.readouterr().out
    assert_same_batches(list(without), list(loader(spec)))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_replaced_and_reported(spec: DatasetSpec, workers: int) -> None:
    training = loader(spec, augment=True, workers=workers, hyp=STILL, shuffle=False)
    broken = Path(training.dataset.paths[3])
    broken.write_bytes(b"broken")
    for _ in range(2):
        names = [Path(path).name for batch in training for path in batch.paths]
        assert names == ["0.png", "1.png", "2.png", "4.png", "4.png", "5.png", "6.png", "7.png", "8.png"]
    assert training.dataset.unreadable == [str(broken)]


def test_mosaics_go_round_an_unreadable_image(spec: DatasetSpec, capsys: pytest.CaptureFixture[str]) -> None:
    training = loader(spec, augment=True, hyp=Hyperparameters(mixup=1.0))
    broken = Path(training.dataset.paths[3])
    broken.write_bytes(b"broken")
    first, second = list(training), list(training)
    assert training.dataset.unreadable == [str(broken)]
    assert_same_batches(first, second)
    assert capsys.readouterr().err.count("3.png: is no image of a known format; left out from now on") == 1


def test_an_image_that_changes_size_during_training_is_left_out(spec: DatasetSpec) -> None:
    training = loader(spec, augment=True, hyp=STILL)
    path = training.dataset.paths[2]
    data.images.write_image(path, np.zeros((20, 20, 3), np.uint8))
    list(training)
    assert training.dataset.unreadable == [path]


@pytest.mark.parametrize("rect", [False, True])
def test_validation_shows_grey_for_an_unreadable_image(spec: DatasetSpec, rect: bool) -> None:
    validation = loader(spec, split="val", rect=rect)
    path = validation.dataset.paths[1]
    Path(path).unlink()
    batches = list(validation)
    assert sum(len(batch.images) for batch in batches) == 9
    position = batches[0].paths.index(path)
    assert (batches[0].images[position] == FILL).all()
    assert position not in batches[0].targets[:, 0].tolist()
    assert validation.dataset.unreadable == [path]


def test_when_every_image_is_gone_it_stops(spec: DatasetSpec) -> None:
    training = loader(spec, augment=True)
    for path in training.dataset.paths:
        Path(path).unlink()
    with pytest.raises(ValueError, match="train: none of 9 images can be read any more"):
        list(training)


@pytest.mark.parametrize("rect", [False, True])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_an_epoch(spec: DatasetSpec, world: int, rect: bool) -> None:
    whole = list(loader(spec, split="val", rect=rect, batch_size=2 * world))
    of_each = {"rect": rect, "batch_size": 2, "world": world}
    shares = [list(loader(spec, split="val", rank=rank, **of_each)) for rank in range(world)]
    for number, batch in enumerate(whole):  # the processes' batches together, taken in turn, are the whole's
        parts = [share[number] for share in shares if number < len(share)]
        assert {part.images.shape[2:] for part in parts} == {batch.images.shape[2:]}
        turns = zip_longest(*(zip(part.paths, part.shapes, part.images, strict=True) for part in parts))
        items = [item for turn in turns for item in turn if item is not None]
        assert [path for path, _, _ in items] == list(batch.paths)
        assert [shape for _, shape, _ in items] == list(batch.shapes)
        torch.testing.assert_close(torch.stack([image for _, _, image in items]), batch.images, rtol=0, atol=0)
    training = [loader(spec, augment=True, rank=rank, **of_each) for rank in range(world)]
    paths = [[path for batch in share for path in batch.paths] for share in training]
    assert set().union(*paths) == set(training[0].dataset.paths)
    assert len({len(share) for share in training}) == 1


@pytest.mark.slow
def test_a_started_rather_than_forked_worker_gives_the_same(spec: DatasetSpec) -> None:
    forked = loader(spec, augment=True, cache="ram", workers=1)
    started = DataLoader(
        forked.dataset,
        batch_size=4,
        sampler=forked.sampler,
        num_workers=1,
        collate_fn=forked.collate_fn,
        multiprocessing_context="spawn",
    )
    assert_same_batches(list(started), list(forked))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_px": 100}, "multiple of the stride 32 but got 100; try 96 or 128"),
        ({"image_px": 0}, "Expected `image_px` to be at least 1 but got 0"),
        ({"batch_size": 0}, "Expected `batch_size` to be at least 1 but got 0"),
        ({"workers": -1}, "Expected `workers` to be at least 0 but got -1"),
        ({"seed": -1}, "Expected `seed` to be at least 0 but got -1"),
        ({"augment": True, "classes": []}, "train: no labels to train on"),
        ({"cache": "gpu"}, "Expected `cache` to be auto, ram or disk but got 'gpu'"),
        ({"rect": True, "shuffle": True}, "Expected `shuffle` to be off with `rect`"),
        ({"pad": 0.5}, "Expected `pad` to be 0 without `rect` but got 0.5"),
        ({"split": "test"}, "has no `test:` entry"),
        ({"rank": 2, "world": 2}, "Expected rank from 0 to world - 1 = 1 but got 2"),
    ],
)
def test_mistakes(spec: DatasetSpec, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loader(spec, **options)


def test_real_data(shared: Path) -> None:
    spec = load_dataset_spec(shared / "data/roadsign877/roadsign877.yaml")
    counts = {"train": (704, 989), "val": (173, 255)}
    for split, (images, boxes) in counts.items():
        real = create_loader(spec, split, image_px=320, batch_size=16, rect=True, pad=0.5, workers=0, progress=False)
        assert len(real.dataset) == images
        assert sum(map(len, real.dataset.labels)) == boxes
        assert real.dataset.shapes.shape == (images, 2)
    shapes = {tuple(batch.images.shape[2:]) for batch in real}
    assert shapes == {(288, 352), (352, 352), (352, 256)}
