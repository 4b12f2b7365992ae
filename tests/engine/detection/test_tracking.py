"""Numbers stay with their objects, through both trackers and into every file."""

import importlib.util

import numpy as np
import pytest

from data.sources.frame import Frame
from engine.config.detect_config import TRACKERS, parse_config
from engine.detection.tracking import Tracking
from engine.inference.predictor import Detections

needs_lap = pytest.mark.skipif(importlib.util.find_spec("lap") is None, reason="the trackers need the package lap")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def frame(path="a.mp4", kind="video", number=1):
    rng = np.random.default_rng(0)
    return Frame(rng.integers(0, 255, (120, 320, 3), np.uint8), path, "a", ".mp4", kind, "", number)


def two_objects(step, confidence=0.9):
    """One moves right, the other left; they are listed in turns."""
    boxes = np.array([[10 + 4 * step, 10, 50 + 4 * step, 50], [260 - 4 * step, 60, 300 - 4 * step, 100]], np.float32)
    order = [0, 1] if step % 2 else [1, 0]
    return Detections(boxes[order], np.full(2, confidence, np.float32), np.array([0, 1])[order])


@needs_lap
@pytest.mark.parametrize("kind", TRACKERS)
def test_numbers_stay_with_their_objects(kind):
    tracking = Tracking(kind, 0.25)
    numbers = {}
    for step in range(8):
        found = tracking(frame(number=step + 1), two_objects(step, 0.2 if step == 5 else 0.9))  # once in doubt
        assert len(found.track_ids) == 2
        for class_id, track in zip(found.class_ids.tolist(), found.track_ids.tolist(), strict=True):
            assert numbers.setdefault(class_id, track) == track
        want = two_objects(step)
        assert (found.boxes_xyxy_px == want.boxes_xyxy_px).all()  # of the detection, not smoothed
    assert len(set(numbers.values())) == 2


@needs_lap
def test_every_stream_has_its_own_tracker_and_doubtful_objects_start_nothing():
    tracking = Tracking("bytetrack", 0.25)
    for path in ("a", "b"):
        assert sorted(tracking(frame(path, "stream"), two_objects(0)).track_ids) == [1, 2]
    assert len(tracking(frame("c"), two_objects(0, 0.2)).track_ids) == 0
    empty = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert len(tracking(frame("c"), empty).class_ids) == 0


def test_flag(monkeypatch):
    assert parse_config([]).track is None
    assert parse_config(["--track"]).track == "bytetrack"
    assert parse_config(["--track", "botsort"]).track == "botsort"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="--track needs the package lap; install it"):
        Tracking("bytetrack", 0.25)
