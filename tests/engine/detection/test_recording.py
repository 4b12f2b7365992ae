"""What is left of a recording when the process is told to end, or is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.web_server import head, serve

# Writes frames of a stream, noise as cameras have it, and kills itself.
KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from data.sources.frame import Frame
from engine.detection.output_files import CsvWriter, JsonWriter, VideoWriter
from engine.inference.predictor import Detections

folder, frames = Path(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(0)
found = Detections(np.array([[1, 2, 30, 40]], np.float32), np.array([0.9], np.float32), np.array([0]))
writers = [VideoWriter(folder), CsvWriter(folder / "a.csv", {0: "red"}), JsonWriter(folder / "a.json", {0: "red"})]
for i in range(frames):
    image = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    frame = Frame(image, "live", "live", "", "stream", "", i + 1, 25.0, i / 25)
    for writer in writers:
        writer.write(frame, found, image)
os.kill(os.getpid(), signal.SIGKILL)
"""


def frames_of(file: Path) -> int:
    capture, count = cv2.VideoCapture(str(file)), 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def test_a_killed_recording_can_be_played(tmp_path, root):
    command = [sys.executable, "-c", KILLED, str(tmp_path), "250"]
    assert subprocess.run(command, cwd=root, check=False).returncode == -signal.SIGKILL
    assert 250 - 3 * 25 <= frames_of(tmp_path / "live.mp4") <= 250  # 3 seconds less at most
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 251
    assert [entry["frame"] for entry in json.loads((tmp_path / "a.json").read_text())] == list(range(1, 251))


def camera(handler):
    """A stream of noise without end."""
    head(handler, "multipart/x-mixed-replace; boundary=frame")
    rng = np.random.default_rng(0)
    pictures = [cv2.imencode(".jpg", rng.integers(0, 256, (96, 128, 3), dtype=np.uint8))[1].tobytes() for _ in range(8)]
    while True:
        for picture in pictures:
            handler.wfile.write(
                b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(picture), picture)
            )
            time.sleep(0.04)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 0), (signal.SIGKILL, -9)]
)
def test_detect_on_a_camera_that_is_ended(tmp_path, root, number, code):
    words = ["--imgsz", "64", "--device", "cpu", "--project", str(tmp_path), "--save-csv", "--conf-thres", "0"]
    with serve({"/live": camera}) as address:
        process = subprocess.Popen(
            [sys.executable, "detect.py", "--source", f"{address}/live", *words],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a shell's background
        )
        seen = 0
        for line in process.stdout:
            seen += "/live (" in line
            if seen == 150:
                break
        os.kill(process.pid, number)
        _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert "Traceback" not in told
    (video,) = (tmp_path / "exp").glob("*.mp4")
    assert frames_of(video) >= (145 if number != signal.SIGKILL else 50)


@pytest.mark.slow
def test_detect_on_a_video_that_is_ended(tmp_path, root):
    """SIGTERM in the midst of a file: the video holds what was done, and a player opens it."""
    writer = cv2.VideoWriter(str(tmp_path / "in.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (128, 96))
    rng = np.random.default_rng(0)
    for _ in range(2000):
        writer.write(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8))
    writer.release()
    words = ["--source", str(tmp_path / "in.mp4"), "--imgsz", "320", "--device", "cpu", "--project", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "detect.py", *words], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if "(50/2000)" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (143, "terminated\n")
    assert 30 <= frames_of(tmp_path / "exp" / "in.mp4") < 2000
