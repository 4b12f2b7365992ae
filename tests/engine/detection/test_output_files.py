"""Files by hand: one picture of 200x100 px, boxes (20, 10, 60, 50) and (100, 20, 200, 100)."""

import csv
import json

import cv2
import numpy as np
import pytest

from data.images import read_image
from data.sources.frame import Frame
from engine.detection import video_file
from engine.detection.output_files import CropWriter, CsvWriter, ImageWriter, JsonWriter, LabelWriter, VideoWriter
from engine.inference.predictor import Detections

FOUND = Detections(
    np.array([[20, 10, 60, 50], [100, 20, 200, 100]], np.float32),
    np.array([0.9, 0.5], np.float32),
    np.array([1, 0]),
)
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
NAMES = {0: "no entry: cars/bikes?", 1: "停车"}


def frame(name="a", suffix=".png", kind="image", number=0, fps=0.0, time_s=None, size=(200, 100)):
    ys, xs = np.mgrid[: size[1], : size[0]]
    image = np.stack([xs, ys, np.zeros_like(xs)], -1).astype(np.uint8)
    return Frame(image, f"in/{name}{suffix}", name, suffix, kind, "", number, fps, time_s)


def test_labels_as_centre_and_size(tmp_path):
    writer = LabelWriter(tmp_path / "labels", corners=False, confidences=False)
    writer.write(frame(), FOUND, None)
    # centre (40, 30) of 200x100: 0.2 0.3, size 40x40: 0.2 0.4;  centre (150, 60): 0.75 0.6, size 100x80: 0.5 0.8
    assert (tmp_path / "labels" / "a.txt").read_text() == "1 0.2 0.3 0.2 0.4\n0 0.75 0.6 0.5 0.8\n"
    assert writer.files == 1


def test_labels_as_corners_with_confidence(tmp_path):
    LabelWriter(tmp_path, corners=True, confidences=True).write(frame(), FOUND, None)
    assert (tmp_path / "a.txt").read_text() == "1 0.1 0.1 0.3 0.5 0.9\n0 0.5 0.2 1 1 0.5\n"


def test_labels_of_frames_are_numbered_and_nothing_found_means_no_file(tmp_path):
    writer = LabelWriter(tmp_path, corners=False, confidences=False)
    writer.write(frame(kind="video", number=7), FOUND, None)
    assert [path.name for path in tmp_path.iterdir()] == ["a_7.txt"]
    writer.write(frame(kind="video", number=7), NOTHING, None)  # an earlier run's file goes
    assert list(tmp_path.iterdir()) == []


def test_crops_by_hand(tmp_path):
    twice = Detections(*(np.concatenate([part, part[:1]]) for part in FOUND[:3]))
    writer = CropWriter(tmp_path, NAMES)
    writer.write(frame(), twice, None)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.jpg"))
    assert files == ["no entry_ cars_bikes_/a.jpg", "停车/a.jpg", "停车/a2.jpg"]
    # Width 40 * 1.02 + 10 = 50.8 around 40: 14.6 to 65.4, cut to 14..65; height around 30: 4.6 to 55.4, cut to 4..55.
    crop = read_image(tmp_path / "停车" / "a.jpg")
    assert crop.shape == (51, 51, 3)
    assert np.abs(crop[:, :, 0].mean(0) - np.arange(14, 65)).max() < 4
    # Width 112 around 150: 94..206, inside 94..200; height 91.6 around 60: 14.2 to 105.8, inside 14..100.
    assert read_image(tmp_path / "no entry_ cars_bikes_" / "a.jpg").shape == (86, 106, 3)
    writer.write(frame(kind="video", number=7), twice, None)
    assert (tmp_path / "停车" / "a_7.jpg").exists()
    assert (tmp_path / "停车" / "a_7_2.jpg").exists()


def test_csv_by_hand(tmp_path):
    writer = CsvWriter(tmp_path / "p.csv", NAMES)
    writer.write(frame(), FOUND, None)
    writer.write(frame(), NOTHING, None)
    writer.write(frame("clip", ".mp4", "video", 3), FOUND, None)
    writer.close()
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Image Name", "Prediction", "Confidence", "Frame", "X1", "Y1", "X2", "Y2"]
    assert rows[1] == ["a.png", "停车", "0.9000", "", "20.00", "10.00", "60.00", "50.00"]
    assert rows[2][:3] == ["a.png", "no entry: cars/bikes?", "0.5000"]
    assert rows[3][:4] == ["clip.mp4", "停车", "0.9000", "3"]
    assert len(rows) == 5


def test_json_by_hand(tmp_path):
    writer = JsonWriter(tmp_path / "p.json", NAMES)
    writer.write(frame("000012"), FOUND, None)
    writer.write(frame("clip", ".mp4", "video", 3), FOUND, None)
    writer.close()
    rows = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    assert rows[0] == {
        "image_id": 12,
        "file_name": "in/000012.png",
        "frame": 0,
        "category_id": 1,
        "category_name": "停车",
        "bbox": [20.0, 10.0, 40.0, 40.0],
        "score": 0.9,
    }
    assert (rows[3]["image_id"], rows[3]["frame"], rows[3]["bbox"]) == ("clip_3", 3, [100.0, 20.0, 100.0, 80.0])
    JsonWriter(tmp_path / "none.json", NAMES).close()
    assert json.loads((tmp_path / "none.json").read_text()) == []


@pytest.mark.parametrize(
    ("suffix", "expected"), [(".png", ".png"), (".JPG", ".JPG"), (".dng", ".jpg"), (".tif", ".tif")]
)
def test_images_keep_their_name(tmp_path, suffix, expected):
    writer = ImageWriter(tmp_path)
    one = frame("标志", suffix)
    writer.write(one, FOUND, one.image)
    assert [path.name for path in tmp_path.iterdir()] == [f"标志{expected}"]
    assert np.abs(read_image(tmp_path / f"标志{expected}").astype(int) - one.image).mean() < 3


def play(path):
    capture = cv2.VideoCapture(str(path))
    fps, frames = capture.get(cv2.CAP_PROP_FPS), []
    while True:
        ok, image = capture.read()
        if not ok:
            break
        frames.append(image[..., ::-1])
    capture.release()
    return fps, frames


def grey(value, size=(64, 48)):
    return np.full((size[1], size[0], 3), value, np.uint8)


@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_videos_one_after_the_other(tmp_path, size):
    writer = VideoWriter(tmp_path)
    for name in ("a", "b"):
        for number in range(1, 7):
            writer.write(frame(name, ".avi", "video", number, 12.5), NOTHING, grey(20 * number, size))
    assert len(play(tmp_path / "a.mp4")[1]) == 6  # finished before b began
    writer.close()
    fps, frames = play(tmp_path / "b.mp4")
    assert fps == pytest.approx(12.5)
    assert [round(image.mean() / 20) for image in frames] == [1, 2, 3, 4, 5, 6]
    assert frames[0].shape == (48, 64, 3)


@pytest.mark.parametrize("fps", [0.0])
def test_a_video_without_a_frame_rate_gets_one(tmp_path, fps):
    writer = VideoWriter(tmp_path)
    writer.write(frame("a", ".avi", "video", 1, fps), NOTHING, grey(90))
    writer.close()
    assert play(tmp_path / "a.mp4")[0] == 30


def test_streams_side_by_side_play_at_the_speed_they_were_seen(tmp_path):
    writer = VideoWriter(tmp_path)
    for i, seconds in enumerate((100.0, 100.5, 101.0, 200.0, 200.5)):  # 10 frames a second, looked at every half second
        for name in ("one", "two"):
            writer.write(frame(name, "", "stream", i + 1, 10.0, seconds), NOTHING, grey(50 * (i + 1)))
    writer.close()
    _, frames = play(tmp_path / "one.mp4")
    assert len(play(tmp_path / "two.mp4")[1]) == len(frames) == 1 + 5 + 5 + 50 + 5  # a long gap is cut to 5 s
    assert round(frames[0].mean()) == pytest.approx(50, abs=6)
    assert round(frames[5].mean()) == pytest.approx(100, abs=6)


def test_a_stream_that_comes_back_in_another_size_fits(tmp_path):
    writer = VideoWriter(tmp_path)
    writer.write(frame("a", "", "stream", 1, 10.0), NOTHING, grey(90))
    writer.write(frame("a", "", "stream", 2, 10.0), NOTHING, grey(90, (128, 96)))
    writer.close()
    assert [image.shape for image in play(tmp_path / "a.mp4")[1]] == [(48, 64, 3)] * 2


@pytest.mark.parametrize(("packages", "codec"), [({"av"}, "h264"), (set(), "FMP4")])
def test_videos_are_h264_where_av_is_installed(tmp_path, monkeypatch, packages, codec):
    if packages:
        pytest.importorskip("av", reason="the package av, which encodes H.264, is not installed")
    monkeypatch.setattr(video_file, "find_spec", lambda name: name in packages or None)
    writer = VideoWriter(tmp_path)
    for number in range(1, 4):
        writer.write(frame("a", ".avi", "video", number, 12.5), NOTHING, grey(20 * number))
    writer.close()
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode() == codec
    capture.release()
