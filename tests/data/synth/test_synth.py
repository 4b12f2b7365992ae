"""The built-in set: determinism, labels against what is drawn, files on disk."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from data.synth import CLASS_NAMES, SPLITS, SynthOptions, ensure, render, writer
from data.synth import render_scene as scene
from data.synth.__main__ import main
from data.synth.paint.canvas import Canvas, polygon_area
from data.synth.paint.lights import draw_head
from data.synth.paint.markings import arrow
from data.synth.paint.signs import FACES, LABELLED, draw_face
from data.synth.scene import furniture
from data.synth.scene.compose import compose
from data.synth.scene.plan import INSTANCES_PER_2226_IMAGES, image_rng, planned_counts
from data.synth.world.atmosphere import draw_atmosphere
from data.synth.world.camera import Camera
from data.synth.world.street import on_ground

PX = (320, 180)
SMALL = {"seed": 3, "train": 5, "val": 2, "test": 1, "image_px": [160, 96]}


def files(root: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small set; tests that change it copy it first."""
    root = tmp_path_factory.mktemp("synth") / "set"
    ensure(root, SMALL, processes=1, progress=False)
    return root


@pytest.fixture
def copy(drawn: Path, tmp_path: Path) -> Path:
    """A copy of the finished set that a test may change."""
    for path in drawn.rglob("*"):
        target = tmp_path / path.relative_to(drawn)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path


# --- determinism ------------------------------------------------------------------------------------------------------


def test_processes_do_not_change_a_byte(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SERIAL_UP_TO", 0)
    ensure(tmp_path / "two", SMALL, processes=2, progress=False)
    assert files(tmp_path / "two") == files(drawn)


def test_an_image_depends_on_seed_split_and_index_only() -> None:
    first = render(0, "train", 5, PX)
    for other in (6, 7):
        render(0, "train", other, PX)
    again = render(0, "train", 5, PX)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.boxes_xyxy_px, again.boxes_xyxy_px)
    for different in (render(1, "train", 5, PX), render(0, "val", 5, PX), render(0, "train", 6, PX)):
        assert not np.array_equal(first.image, different.image)


def test_a_larger_set_begins_with_the_smaller_one(drawn: Path, tmp_path: Path) -> None:
    ensure(tmp_path / "more", {**SMALL, "train": 7}, processes=1, progress=False)
    more = files(tmp_path / "more")
    assert all(more[name] == digest for name, digest in files(drawn).items() if name != "manifest.json")


# --- counts and sizes -------------------------------------------------------------------------------------------------


def test_planned_counts_follow_the_class_frequencies() -> None:
    from data.synth.scene.plan import OVERDRAW

    total = np.sum([planned_counts(0, "train", i) for i in range(2226)], axis=0)
    np.testing.assert_allclose(total, np.multiply(INSTANCES_PER_2226_IMAGES, OVERDRAW), rtol=0.02)
    empty = sum(not any(planned_counts(0, "train", i)) for i in range(2226)) / 2226
    assert 0.02 < empty < 0.09


def test_most_planned_objects_can_be_seen() -> None:
    planned = np.sum([planned_counts(5, "train", i) for i in range(40)], axis=0).sum()
    labelled = sum(len(render(5, "train", i, PX).classes) for i in range(40))
    assert 0.85 * planned <= labelled <= planned


@pytest.mark.slow
def test_labelled_counts_at_full_size() -> None:
    counts = np.zeros(len(CLASS_NAMES), dtype=int)
    for i in range(2226):
        counts += np.bincount(render(0, "train", i, PX).classes, minlength=len(CLASS_NAMES))
    np.testing.assert_allclose(counts, INSTANCES_PER_2226_IMAGES, rtol=0.03)


def test_every_class_is_planned_small_medium_and_large() -> None:
    areas: dict[int, list[float]] = {c: [] for c in range(len(CLASS_NAMES))}
    for i in range(400):
        rng = image_rng(0, "train", i)
        draw_atmosphere(rng)
        layout = compose(rng, planned_counts(0, "train", i), (640, 360))
        labelled = [(p.class_id, p.box_px) for p in layout.placed]
        labelled += [(m.class_id, a.box_px) for m, a in zip(layout.marks, layout.arrows, strict=False)]
        for class_id, box in labelled:
            if class_id is not None:
                areas[class_id].append(float(np.prod(box[2:] - box[:2])))
    for class_id, values in areas.items():
        small, large = np.mean(np.array(values) < 32**2), np.mean(np.array(values) > 96**2)
        assert 0.15 < small < 0.65, CLASS_NAMES[class_id]
        assert 0.02 < large < 0.35, CLASS_NAMES[class_id]
        assert small + large < 0.9, CLASS_NAMES[class_id]


# --- boxes against what is drawn --------------------------------------------------------------------------------------


def test_boxes_are_tight_around_the_visible_coverage() -> None:
    seen = 0
    for i in range(20):
        drawn = render(2, "train", i, PX)
        for mask, (x1, y1, x2, y2) in zip(drawn.masks, drawn.boxes_xyxy_px, strict=True):
            ys, xs = np.nonzero(mask >= 0.5)
            assert xs.min() >= x1 - 1
            assert ys.min() >= y1 - 1
            assert xs.max() + 1 <= x2 + 1
            assert ys.max() + 1 <= y2 + 1
            ys, xs = np.nonzero(mask >= 0.2)
            np.testing.assert_allclose([x1, y1, x2, y2], [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=1.0)
            seen += 1
        height, width = drawn.image.shape[:2]
        assert (drawn.boxes_xyxy_px >= 0).all()
        assert (drawn.boxes_xyxy_px <= [width, height, width, height]).all()
    assert seen > 20


def scene_light(index: int, **changes: object) -> tuple[np.ndarray, list]:
    """The picture in linear light of a dry scene, after changing fields of its marks."""
    rng = image_rng(4, "train", index)
    air = replace(draw_atmosphere(rng), rain=0.0)
    layout = compose(rng, planned_counts(4, "train", index), PX)
    for mark in layout.marks:
        if mark.class_id is not None:
            for name, value in changes.items():
                setattr(mark, name, value)
    canvas, sightings = scene.draw_scene(layout, air, rng)
    return canvas.rgb, sightings


def changed_box(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Bounds x1, y1, x2, y2 of the pixels that differ by more than the faint edge of something in front."""
    change = np.abs(after - before).max(axis=2)
    ys, xs = np.nonzero(change > 0.15 * change.max())
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


def test_sign_boxes_equal_the_pixels_that_change_with_the_face(monkeypatch: pytest.MonkeyPatch) -> None:
    original, checked = furniture.draw_face, 0
    for index in range(40):
        if sum(planned_counts(4, "train", index)[3:]) != 1 or checked == 5:
            continue
        before, sightings = scene_light(index)
        signs = [s for s in sightings if s.class_id in LABELLED.values() and s.whole.visible_share() > 0.3]

        def inverted(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            rgb, alpha = original(kind, rng)
            return (255 - rgb if kind in LABELLED else rgb), alpha

        monkeypatch.setattr(furniture, "draw_face", inverted)
        after, _ = scene_light(index)
        monkeypatch.setattr(furniture, "draw_face", original)
        if len(signs) == 1:
            np.testing.assert_allclose(signs[0].whole.box_xyxy_px(), changed_box(before, after), atol=1.3)
            checked += 1
    assert checked == 5


def test_arrow_boxes_equal_the_pixels_that_change_with_the_paint() -> None:
    checked = 0
    for index in range(40):
        if sum(planned_counts(4, "train", index)[1:3]) != 1 or checked == 5:
            continue
        before, sightings = scene_light(index, opacity=1.0)
        arrows = [s for s in sightings if s.class_id in (1, 2) and s.whole.visible_share() > 0.9]
        after, _ = scene_light(index, opacity=0.0)
        if len(arrows) == 1:
            np.testing.assert_allclose(arrows[0].whole.box_xyxy_px(), changed_box(before, after), atol=2.0)
            checked += 1
    assert checked >= 3


def test_hidden_parts_leave_the_box() -> None:
    canvas = Canvas(40, 30)
    track = canvas.track()
    canvas.polygon(np.array([[10, 5], [20, 5], [20, 25], [10, 25]]), np.ones(3), track=track)
    np.testing.assert_allclose(track.box_xyxy_px(), [10, 5, 20, 25], atol=1e-6)
    assert track.visible_share() == pytest.approx(1.0)
    canvas.polygon(np.array([[0, 15], [40, 15], [40, 30], [0, 30]]), np.zeros(3))
    np.testing.assert_allclose(track.box_xyxy_px(), [10, 5, 20, 15], atol=1e-6)
    assert track.visible_share() == pytest.approx(0.5)
    canvas.polygon(np.array([[0, 0], [40, 0], [40, 30], [0, 30]]), np.zeros(3))
    assert track.box_xyxy_px() is None


# --- geometry ---------------------------------------------------------------------------------------------------------


CAMERA = Camera(640, 360, 520.0, 170.0, 1.4, 1.7, yaw=0.08, roll=0.02, bend=1 / 300)


def test_ground_pixels_project_back_onto_themselves() -> None:
    top, lateral, ahead = CAMERA.ground()
    for x, y in ((30, 300), (320, 250), (600, 340)):
        place = np.array([[lateral[y - top, x], ahead[y - top, x], 0.0]])
        np.testing.assert_allclose(CAMERA.project(place)[0], [x + 0.5, y + 0.5], atol=0.05)


def test_a_point_by_hand() -> None:
    camera = Camera(640, 360, 500.0, 180.0, 1.5, 0.0)
    # 2 m right, 10 m ahead, on the ground: x = 320 + 500 * 2 / 10, y = 180 + 500 * 1.5 / 10
    np.testing.assert_allclose(camera.project(np.array([[2.0, 10.0, 0.0]])), [[420, 255]])


def test_arrows_shrink_and_flatten_with_distance() -> None:
    camera = replace(CAMERA, yaw=0.0, roll=0.0, bend=0.0)
    sizes = []
    for ahead in (5, 10, 20, 40):
        points = camera.project(on_ground(arrow("straight", 1.7, ahead, 1.2, 4.0)))
        width, height = np.ptp(points, axis=0)
        sizes.append((width, height, height / width))
        assert points[:, 1].min() > camera.horizon_px
        assert points[4, 1] == points[:, 1].min()  # the tip is furthest
    assert (np.diff(sizes, axis=0) < 0).all()


def test_left_and_right_arrows_mirror_each_other() -> None:
    left, right = (arrow(kind, 0.0, 8.0, 1.2, 4.0) for kind in ("left", "right"))
    np.testing.assert_allclose(left * [-1, 1], right)
    assert polygon_area(left) > 0
    assert abs(left[:, 0].min()) > abs(left[:, 0].max())  # the head reaches further to its side


# --- what the classes look like ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "strongest"), [("red", 0), ("green", 1)])
@pytest.mark.parametrize("lens", ["disc", "arrow", "figure"])
def test_lit_lamps_have_their_colour(state: str, strongest: int, lens: str) -> None:
    for lamps in (2, 3):
        head = draw_head(np.random.default_rng(0), state, lamps, lens)
        light = head.emission.sum((0, 1))
        assert light.argmax() == strongest
        rows = np.flatnonzero(head.emission.max(axis=(1, 2)) > 0.3) / len(head.emission)
        assert rows.mean() < 0.5 if state == "red" else rows.mean() > 0.5  # red on top


@pytest.mark.parametrize("state", ["dark", "back"])
def test_other_heads_give_no_light(state: str) -> None:
    assert not draw_head(np.random.default_rng(0), state).emission.any()


def test_faces_differ_where_the_classes_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.synth.world.difficulty.SIGN_FADE", (0.0, 0.0))
    faces = {}
    for kind in FACES:
        rgb, alpha = draw_face(kind, np.random.default_rng(11))
        assert rgb.shape[:2] == alpha.shape
        assert alpha.max() == 1
        faces[kind] = rgb.astype(int)
    side = len(faces["no_driving"])
    middle, upper_right = (side // 2, side // 2), (round(side * 0.32), round(side * 0.68))
    assert faces["no_driving"][middle].min() > 150
    red, _, blue = faces["no_parking"][middle]
    assert red > 2 * blue
    red, _, blue = faces["no_parking"][upper_right]
    assert blue > 2 * red
    red, _, blue = faces["no_stopping"][upper_right]
    assert red > 2 * blue


# --- files ------------------------------------------------------------------------------------------------------------


def test_layout_on_disk(drawn: Path) -> None:
    manifest = json.loads((drawn / "manifest.json").read_text())
    assert manifest["options"] == SynthOptions.from_mapping(SMALL).to_dict()
    assert manifest["version"] == writer.GENERATOR_VERSION
    for split in SPLITS:
        images = sorted((drawn / "images" / split).iterdir())
        assert [p.stem for p in images] == [f"{i:06d}" for i in range(SMALL[split])]
        total = 0
        for path in images:
            image = cv2.imread(str(path))
            assert image.shape == (96, 160, 3)
            for line in (drawn / "labels" / split / f"{path.stem}.txt").read_text().splitlines():
                class_id, *box = line.split()
                x, y, w, h = (float(v) for v in box)
                assert 0 <= int(class_id) < len(CLASS_NAMES)
                assert 0 < w <= 1
                assert 0 < h <= 1
                assert w / 2 - 1e-6 <= x <= 1 - w / 2 + 1e-6
                assert h / 2 - 1e-6 <= y <= 1 - h / 2 + 1e-6
                total += 1
        assert sum(manifest["counts"][split][name] for name in CLASS_NAMES) == total
    assert not [p for p in drawn.rglob("*") if p.name.startswith(".") or "partial" in p.name]


def test_a_complete_set_is_left_alone(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("drew an image")

    monkeypatch.setattr(writer, "render", fail)
    before = {p: p.stat().st_mtime_ns for p in copy.rglob("*")}
    ensure(copy, SMALL)
    assert {p: p.stat().st_mtime_ns for p in copy.rglob("*")} == before


def test_an_interrupted_set_is_completed(drawn: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy / "manifest.json").rename(copy / "manifest.partial.json")
    (copy / "labels/train/000003.txt").unlink()
    (copy / "images/val/000001.jpg").unlink()
    (copy / "notes.txt").write_text("mine")
    rendered, original = [], writer.render
    monkeypatch.setattr(writer, "render", lambda *job: rendered.append(job[1:3]) or original(*job))
    ensure(copy, SMALL, processes=1, progress=False)
    assert rendered == [("train", 3), ("val", 1)]
    assert (copy / "notes.txt").read_text() == "mine"
    found = files(copy)
    del found["notes.txt"]
    assert found == files(drawn)


@pytest.mark.parametrize("change", [{"seed": 4}, {"train": 6}, {"image_px": [192, 96]}])
def test_another_set_in_the_folder_is_refused(copy: Path, change: dict[str, object]) -> None:
    before = files(copy)
    with pytest.raises(ValueError, match=r"manifest\.json: Expected a set made with .* but got .*delete the folder"):
        ensure(copy, {**SMALL, **change}, progress=False)
    assert files(copy) == before


def test_a_damaged_manifest_is_named(copy: Path) -> None:
    (copy / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json: Expected JSON"):
        ensure(copy, SMALL, progress=False)


def test_files_from_elsewhere_are_not_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "images/train/000002.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"000002\.jpg: exists but .* not overwritten"):
        ensure(tmp_path, SMALL, progress=False)
    assert files(tmp_path) == {"images/train/000002.jpg": hashlib.sha256(b"mine").hexdigest()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tran": 3}, "Expected one of .* but got 'tran'; did you mean 'train'"),
        ({"train": -1}, "Expected `train` to be a whole number, 0 or more, but got -1"),
        ({"seed": 1.5}, "Expected `seed` to be a whole number"),
        ({"image_px": 640}, r"Expected `image_px` to be \[width, height\]"),
        ({"image_px": [40, 40]}, "Expected `image_px` between 96 and 4096"),
        ([1], "Expected a mapping"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ensure(tmp_path, options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["signs.yaml", "signs_demo.yaml", "signs_tiny.yaml"])
def test_bundled_yaml(root: Path, name: str) -> None:
    content = yaml.safe_load((root / "data" / name).read_text(encoding="utf-8"))
    assert tuple(content["names"].values()) == CLASS_NAMES
    options = SynthOptions.from_mapping(content["synth"])
    assert [content[split] for split in SPLITS] == [f"images/{split}" for split in SPLITS]
    assert name != "signs.yaml" or options.train == 2226


def test_tiny_shows_every_class_in_every_split(root: Path) -> None:
    options = SynthOptions.from_mapping(yaml.safe_load((root / "data/signs_tiny.yaml").read_text())["synth"])
    for split in SPLITS:
        planned = [planned_counts(options.seed, split, i) for i in range(options.count(split))]
        assert (np.sum(planned, axis=0) >= 1).all()


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = {"path": "x", "names": list(CLASS_NAMES), "synth": {**SMALL, "train": 1, "val": 0, "test": 0}}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(content))
    assert main(["--data", str(tmp_path / "x.yaml"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/manifest.json").is_file()
    assert main(["--data", str(tmp_path / "x.yaml"), "--preview", str(tmp_path / "sheet.png")]) == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[0] % 96 == 0
    assert sheet.shape[1] % 160 == 0
    capsys.readouterr()
    assert main(["--data", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err
    (tmp_path / "y.yaml").write_text("names: [a]")
    assert main(["--data", str(tmp_path / "y.yaml")]) == 2
    assert "synth:" in capsys.readouterr().err


def test_bundled_images_are_small_and_readable(root: Path) -> None:
    paths = sorted((root / "data/images").glob("*.jpg"))
    assert 6 <= len(paths) <= 8
    assert sum(p.stat().st_size for p in paths) < 600_000
    assert all(cv2.imread(str(p)).shape[2] == 3 for p in paths)
