"""detect.py from the command line's words to files, with a stand-in model; and as a process."""

import csv
import json
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from data.images import read_image, write_image
from data.sources.files import FileSource
from engine.config.detect_config import parse_config
from engine.config.parser import run_cli
from engine.detection.run_detection import run_detection
from tests.support.red_boxes import RedBoxes


@pytest.fixture
def model(monkeypatch):
    stand_in = RedBoxes()
    monkeypatch.setattr("engine.inference.open_weights.load_model", lambda path, device: stand_in)
    return stand_in


def picture(red=None, green=None, size=(128, 64)):
    image = np.full((size[1], size[0], 3), 100, np.uint8)
    for colour, box in (((255, 0, 0), red), ((0, 255, 0), green)):
        if box:
            x1, y1, x2, y2 = box
            image[y1:y2, x1:x2] = colour
    return image


@pytest.fixture
def images(tmp_path):
    """Six pictures in two shapes; the red box of picture i begins at 2 i."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(6):
        size = (128, 64) if i % 2 else (96, 128)
        write_image(folder / f"{i}.png", picture((2 * i, 10, 2 * i + 20, 30), (50, 5, 80, 40) if i else None, size))
    return folder


def detect(source, out, *flags):
    words = ["--weights", "stand-in.pt", "--source", str(source), "--imgsz", "128", "--device", "cpu"]
    return run_cli(lambda: run_detection(parse_config([*words, "--project", str(out), *flags])))


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_line_per_image_and_all_outputs(model, images, tmp_path, capsys):
    flags = ("--save-txt", "--save-conf", "--save-crop", "--save-csv", "--save-json")
    assert detect(images, tmp_path / "runs", *flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(f"image 1/6 {images / '0.png'}: 128x96 1 red, ")
    assert lines[2].startswith(f"image 2/6 {images / '1.png'}: 64x128 1 red, 1 green, ")
    assert lines[2].endswith("ms")
    assert lines[7].startswith("Speed: ")
    out = tmp_path / "runs" / "exp"
    assert lines[8:] == [f"6 labels saved to {out / 'labels'}", f"Results saved to {out}"]
    # red (2, 10, 22, 30) of 128x64: centre 12, 20, size 20, 20
    assert (out / "labels" / "1.txt").read_text() == (
        "0 0.09375 0.3125 0.15625 0.3125 0.9\n1 0.507812 0.351562 0.234375 0.546875 0.6\n"
    )
    assert sorted(path.name for path in out.glob("*.png")) == [f"{i}.png" for i in range(6)]
    assert (read_image(out / "1.png") != read_image(images / "1.png")).any()
    assert len(list((out / "crops" / "red").iterdir())) == 6
    assert len(list((out / "crops" / "green").iterdir())) == 5
    assert len((out / "predictions.csv").read_text().splitlines()) == 12
    assert len(json.loads((out / "predictions.json").read_text())) == 11


def test_the_result_does_not_depend_on_the_batch(model, images, tmp_path):
    flags = ("--save-txt", "--save-conf", "--save-csv", "--save-json", "--save-crop")
    for size in ("1", "2", "6"):
        assert detect(images, tmp_path / size, *flags, "--batch-size", size) == 0
    assert tree(tmp_path / "1") == tree(tmp_path / "2") == tree(tmp_path / "6")
    assert (3, 3, 64, 128) in model.batches
    assert (1, 3, 64, 128) in model.batches


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_the_result_does_not_depend_on_the_batches_at_a_time(model, images, tmp_path, monkeypatch, three_threads):
    (images / "4.png").write_bytes(b"no picture")
    threads = set()
    seen = RedBoxes.raw

    def raw(self, batch):
        threads.add((threading.get_ident(), torch.get_num_threads()))
        return seen(self, batch)

    monkeypatch.setattr(RedBoxes, "raw", raw)
    flags = ("--save-txt", "--save-conf", "--save-csv", "--save-json", "--save-crop", "--batch-size", "1")
    assert detect(images, tmp_path / "several", *flags) == 0
    assert {number for _, number in threads} == {1}
    assert threading.get_ident() not in {thread for thread, _ in threads}
    threads.clear()
    monkeypatch.setattr("engine.detection.run_detection._MOST_AT_A_TIME", 1)
    assert detect(images, tmp_path / "one", *flags) == 0
    assert threads == {(threading.get_ident(), 3)}
    assert tree(tmp_path / "several") == tree(tmp_path / "one")


def test_run_folders_count_up(model, images, tmp_path):
    for _ in range(2):
        assert detect(images, tmp_path) == 0
    assert detect(images, tmp_path, "--exist-ok") == 0
    assert detect(images, tmp_path, "--name", "mine") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"in", "exp", "exp2", "mine"}
    assert detect(images, tmp_path / "none", "--nosave") == 0
    assert not (tmp_path / "none").exists()


def test_broken_images_are_listed_at_the_end(model, images, tmp_path, capfd):
    (images / "2.png").write_bytes(b"no picture")
    (images / "9.jpg").write_bytes(b"")
    (images / "9.bmp").write_bytes(b"BM" + bytes(60))
    assert detect(images, tmp_path / "runs") == 0
    out, err = capfd.readouterr()
    assert out.count("\nimage ") == 5
    lines = err.splitlines()
    assert lines[0] == "3 of 8 inputs could not be used:"  # before it not a word of OpenCV's
    assert lines[1].startswith(f"  {images / '2.png'}: ")
    assert lines[2].startswith(f"  {images / '9.bmp'}: ")
    assert lines[3] == f"  {images / '9.jpg'}: the file is empty"
    for file in images.iterdir():
        file.write_bytes(b"no picture")
    assert detect(images, tmp_path / "runs") == 2


@pytest.mark.parametrize(
    ("flags", "classes"),
    [
        (["--classes", "1"], {"green"}),
        (["--classes", "red"], {"red"}),
        (["--conf-thres", "0.7"], {"red"}),
        (["--max-det", "1"], {"red"}),
        ([], {"red", "green"}),
    ],
)
def test_selection_flags(model, images, tmp_path, flags, classes):
    assert detect(images, tmp_path, "--save-csv", *flags) == 0
    rows = (tmp_path / "exp" / "predictions.csv").read_text().splitlines()[1:]
    assert {row.split(",")[1] for row in rows} == classes


@pytest.mark.parametrize("flags", [["--hide-labels"], ["--hide-conf"], ["--line-thickness", "1"]])
def test_drawing_flags(model, images, tmp_path, flags):
    assert detect(images, tmp_path) == 0
    assert detect(images, tmp_path, *flags) == 0
    assert (read_image(tmp_path / "exp" / "1.png") != read_image(tmp_path / "exp2" / "1.png")).any()


def test_names_from_a_data_set(model, images, tmp_path, capsys):
    (tmp_path / "zh.yaml").write_text("names: [红, 绿]\n", encoding="utf-8")
    assert detect(images, tmp_path, "--data", str(tmp_path / "zh.yaml"), "--save-crop") == 0
    assert "1 红, 1 绿" in capsys.readouterr().out
    assert (tmp_path / "exp" / "crops" / "红").is_dir()
    (tmp_path / "zh.yaml").write_text("names: [one]\n")
    assert detect(images, tmp_path, "--data", str(tmp_path / "zh.yaml")) == 2
    assert "the model's 2 classes" in capsys.readouterr().err


def test_video_in_video_out(model, tmp_path, capsys):
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"FFV1"), 10.0, (128, 64))
    assert writer.isOpened()
    for i in range(10):
        writer.write(picture((4 * i, 10, 4 * i + 20, 30))[..., ::-1])
    writer.release()
    assert detect(clip, tmp_path / "runs", "--save-txt", "--vid-stride", "2") == 0
    out = tmp_path / "runs" / "exp"
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].startswith(f"video 1/1 (3/5) {clip}: 64x128 1 red, ")
    assert sorted(path.name for path in (out / "labels").iterdir()) == [f"clip_{i}.txt" for i in range(1, 6)]
    # The third group of two ends with frame 5 (counting from 0), whose box is (20, 10, 40, 30).
    assert (out / "labels" / "clip_3.txt").read_text().split()[1] == "0.234375"
    capture = cv2.VideoCapture(str(out / "clip.mp4"))
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (5, 5)
    capture.release()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--classes", "blue"], "--classes blue: the model has no such class; it has 0 red, 1 green"),
        (["--classes", "2"], "--classes 2"),
        (["--device", "99"], "--device 99"),
        (["--source", "gone.jpg"], "gone.jpg: no such file or folder"),
        (["--data", "gone.yaml"], "gone.yaml"),
    ],
)
def test_mistakes_give_one_line_and_no_run_folder(model, images, tmp_path, capsys, flags, message):
    assert detect(images, tmp_path / "runs", *flags) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--half"], "--half (--precision 16): fp16 needs a GPU, so fp32 is used"),
        (["--dnn"], "--dnn has no effect on stand-in.pt"),
        (["--save-conf"], "--save-conf has no effect without --save-txt"),
        (["--save-format", "1"], "--save-format has no effect without --save-txt"),
        (["--update"], "--update is ignored"),
        (["--view-img"], "--view-img: "),
    ],
)
def test_harmless_flags_are_told_and_the_run_goes_on(model, images, tmp_path, capsys, monkeypatch, flags, told):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if flags == ["--view-img"] and sys.platform != "linux":
        pytest.skip("windows open without DISPLAY here")
    assert detect(images, tmp_path / "runs", *flags) == 0
    err = capsys.readouterr().err
    assert err.startswith(f"note: {told}")
    assert err.count("\n") == 1
    assert len(list((tmp_path / "runs" / "exp").glob("*.png"))) == 6


def test_view_img_without_window_support_says_so(model, images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "")
    assert detect(images, tmp_path / "runs", "--view-img") == 0
    err = capsys.readouterr().err
    assert "no window support (opencv-python-headless overlays opencv-python" in err
    assert "going on without a window" in err


def test_view_img_shows_every_picture_in_order_and_q_ends(model, images, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT")
    for name in ("namedWindow", "resizeWindow", "destroyAllWindows"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "imshow", lambda title, _: shown.append(Path(title).name))
    monkeypatch.setattr(cv2, "waitKey", lambda _: -1)
    assert detect(images, tmp_path / "runs", "--view-img", "--nosave") == 0
    assert shown == [f"{i}.png" for i in range(6)]
    shown.clear()
    monkeypatch.setattr(cv2, "waitKey", lambda _: ord("q"))
    assert detect(images, tmp_path / "runs", "--view-img", "--nosave") == 0
    assert 1 <= len(shown) <= 6


def test_a_full_disk_gives_one_line(model, images, tmp_path, capsys, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.detection.output_files.write_image", full)
    assert detect(images, tmp_path / "runs") == 2
    assert f"{tmp_path / 'runs'}: the disk is full, " in capsys.readouterr().err


def test_interrupting_a_live_source_finishes_the_video(model, tmp_path, capsys, monkeypatch):
    from data.sources.frame import Frame

    class Camera:
        live = True

        def __iter__(self):
            for i in range(1, 6):
                yield Frame(picture((0, 0, 20, 20)), "0", "camera0", "", "stream", f"0: 0 ({i})", i, 10.0, i / 10)
            raise KeyboardInterrupt

        def close(self):
            pass

    monkeypatch.setattr("engine.detection.run_detection.open_source", lambda text, vid_stride: Camera())
    assert detect("0", tmp_path) == 0
    assert "stopped" in capsys.readouterr().out
    capture = cv2.VideoCapture(str(tmp_path / "exp" / "camera0.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    capture.release()


# as a process


def test_help_imports_no_torch(root):
    code = (
        "import sys, runpy; sys.argv = ['detect.py', '--help']\n"
        "try: runpy.run_path('detect.py', run_name='__main__')\n"
        "except SystemExit as left: assert left.code == 0\n"
        "assert not {'torch', 'cv2', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    assert "--save-txt" in done.stdout


def test_bad_weights_give_one_line(images, tmp_path, capsys):
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"no weights")
    for path in (bad, tmp_path / "gone.pt"):
        assert detect(images, tmp_path / "runs", "--weights", str(path)) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert path.name in err
    assert not (tmp_path / "runs").exists()


def test_original_weights_on_a_broken_folder(root, shared, tmp_path):
    """One process with a real model: the drawn names, the exit code and a quiet stderr."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("road463.jpg", "road470.jpg"):
        source = next((shared / "data" / "roadsign877" / "images").rglob(name))
        (folder / name).write_bytes(source.read_bytes())
    (folder / "cut.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(200))
    weights = shared / "weights" / "roadsign_yolov5n_original.pt"
    words = ["--weights", weights, "--source", folder, "--imgsz", 320, "--project", tmp_path, "--device", "cpu"]
    command = [sys.executable, str(root / "detect.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    assert "image 1/3" in done.stdout
    assert "speedlimit" in done.stdout
    assert done.stderr.splitlines()[0] == "1 of 3 inputs could not be used:"
    assert len(done.stderr.splitlines()) == 2
    assert sorted(path.name for path in (tmp_path / "exp").glob("*.jpg")) == ["road463.jpg", "road470.jpg"]


def test_names_of_files_and_classes_run_nothing(model, tmp_path, capsys):
    """Not on the terminal, and not in the spreadsheet that the CSV is opened with."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_image(folder / "=1+1\x1b[31m.png", picture(red=(8, 8, 60, 40)))
    (folder / "b\nroot: done\x1b[2J.png").write_bytes(b"no picture")
    model.names = {0: "=cmd|' /C calc'!A0\x1b[32m", 1: "b"}
    assert detect(folder, tmp_path, "--save-csv") == 0
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert r"=1+1\x1b[31m.png: " in told.out
    assert r"1 =cmd|' /C calc'!A0\x1b[32m" in told.out
    assert r"b\nroot: done\x1b[2J.png: " in told.err
    with (tmp_path / "exp" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[1][:2] == ["'=1+1\x1b[31m.png", "'=cmd|' /C calc'!A0\x1b[32m"]


def test_images_that_take_much_memory_are_not_read_ahead(model, tmp_path, monkeypatch):
    """Small files, each a hundred times larger in memory than what may wait."""
    monkeypatch.setattr("data.sources.files._MOST_BYTES", 1 << 20)
    monkeypatch.setattr("engine.runtime.pipeline._MOST_HELD_BYTES", 1 << 20)
    (tmp_path / "in").mkdir()
    for number in range(16):
        cv2.imwrite(str(tmp_path / "in" / f"{number:02d}.png"), np.zeros((2000, 2000, 3), np.uint8))
    alive, most = [], []
    seen = FileSource._frames_of

    def counted(self, *entry):
        for frame in seen(self, *entry):
            alive.append(weakref.ref(frame.image))
            most.append(sum(ref() is not None for ref in alive))
            yield frame

    monkeypatch.setattr(FileSource, "_frames_of", counted)
    assert detect(tmp_path / "in", tmp_path, "--batch-size", "4") == 0
    assert len(most) == 16
    assert max(most) <= 6
    assert len(list((tmp_path / "exp").glob("*.png"))) == 16
