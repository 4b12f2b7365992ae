"""Every kind of --source, with files made here and servers on the loopback."""

import http.server
import sys
import threading
import time
import types
from contextlib import closing
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.sources.files import output_names
from data.sources.frame import Frame, Trouble
from data.sources.live_streams import masked
from data.sources.open_source import open_source


def save_image(path: Path, value=100, size=(32, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((size[1], size[0], 3), value, np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def save_video(path: Path, frames=12, fps=10.0, size=(64, 48), codec="MJPG"):
    """Frame i is grey of brightness 10 i."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size)
    assert writer.isOpened()
    for i in range(frames):
        writer.write(np.full((size[1], size[0], 3), 10 * i % 256, np.uint8))
    writer.release()
    return path


def read(text, **options):
    with closing(open_source(str(text), **options)) as source:
        return list(source)


def split(items):
    return [item for item in items if isinstance(item, Frame)], [item for item in items if isinstance(item, Trouble)]


# files


def test_one_image(tmp_path):
    file = save_image(tmp_path / "标志 1.png", 100)
    (frame,) = read(file)
    assert (frame.kind, frame.name, frame.suffix, frame.number) == ("image", "标志 1", ".png", 0)
    assert frame.heading == f"image 1/1 {file}"
    np.testing.assert_array_equal(frame.image, np.full((24, 32, 3), 100, np.uint8))


def test_images_are_rgb_upright_and_eight_bit(tmp_path):
    red = np.zeros((24, 32, 3), np.uint8)
    red[..., 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(red).save(tmp_path / "a.png", exif=exif)
    cv2.imwrite(str(tmp_path / "b.png"), np.full((24, 32), 65535, np.uint16))
    Image.fromarray(red).quantize().save(tmp_path / "c.png")
    turned, deep, palette = read(tmp_path)
    assert turned.image.shape == (32, 24, 3)
    assert turned.image[0, 0].tolist() == [255, 0, 0]
    assert (deep.image.dtype, deep.image.max()) == (np.uint8, 255)
    assert palette.image[0, 0].tolist() == [255, 0, 0]


def test_a_folder_is_read_in_order_images_before_videos(tmp_path):
    for i in range(30):
        save_image(tmp_path / f"{i:02}.jpg", 5 * i)
    save_video(tmp_path / "00.avi", 2)
    (tmp_path / "notes.md").write_text("no picture")
    (tmp_path / ".hidden.jpg").write_bytes(b"")
    frames, troubles = split(read(tmp_path))
    assert [frame.path for frame in frames] == [str(tmp_path / f"{i:02}.jpg") for i in range(30)] + 2 * [
        str(tmp_path / "00.avi")
    ]
    assert [int(frame.image.mean()) for frame in frames[:30]] == [5 * i for i in range(30)]
    assert frames[31].heading == f"video 31/31 (2/2) {tmp_path / '00.avi'}"
    assert frames[31].name == "00_2"
    assert troubles == []


def test_broken_files_do_not_stop_the_others(tmp_path):
    save_image(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    save_image(tmp_path / "c.jpg")
    (tmp_path / "d.mp4").write_bytes(b"no video")
    frames, troubles = split(read(tmp_path))
    assert [Path(frame.path).name for frame in frames] == ["a.jpg", "c.jpg"]
    assert [Path(trouble.path).name for trouble in troubles] == ["b.jpg", "d.mp4"]
    assert str(tmp_path) not in troubles[0].reason
    assert not any(trouble.partial for trouble in troubles)


def test_patterns(tmp_path):
    for name in ("a.jpg", "b.png", "sub/c.jpg", "sub/deep/d.jpg"):
        save_image(tmp_path / name)
    assert [Path(frame.path).name for frame in read(tmp_path / "*.jpg")] == ["a.jpg"]
    assert [Path(frame.path).name for frame in read(tmp_path / "**" / "*.jpg")] == ["a.jpg", "c.jpg", "d.jpg"]
    with pytest.raises(ValueError, match="matches no image"):
        read(tmp_path / "*.tif")


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path):
    file = save_image(tmp_path / "a[1].jpg")
    assert len(read(file)) == 1


def test_lists(tmp_path, monkeypatch):
    save_image(tmp_path / "a.jpg")
    save_image(tmp_path / "sub" / "b.jpg")
    save_image(tmp_path / "elsewhere" / "c.jpg")
    monkeypatch.chdir(tmp_path / "elsewhere")
    entries = ["# comment", "", "a.jpg", "sub", "c.jpg", "gone.jpg", "sub/*.jpg", "other.txt"]
    (tmp_path / "list.txt").write_text("\n".join(entries), encoding="utf-8-sig")
    frames, troubles = split(read(tmp_path / "list.txt"))
    assert [Path(frame.path).name for frame in frames] == ["a.jpg", "b.jpg", "c.jpg", "b.jpg"]
    assert [frame.name for frame in frames] == ["a", "b", "c", "b_2"]
    gone = f"no such file or folder (line 6 of {tmp_path / 'list.txt'})"
    assert troubles[0] == Trouble("gone.jpg", gone)
    assert "list inside a list" in troubles[1].reason


@pytest.mark.parametrize(
    ("make", "text", "message"),
    [
        (lambda p: None, "gone.jpg", "no such file or folder"),
        (lambda p: (p / "empty").mkdir(), "empty", "holds no images and no videos$"),
        (lambda p: save_image(p / "outer" / "inner" / "a.jpg"), "outer", "1 lie in folders below it"),
        (lambda p: (p / "a.doc").write_text("x"), "a.doc", r"ends in '\.doc'"),
        (lambda p: (p / "a.txt").write_text("# nothing\n"), "a.txt", "the list is empty"),
        (lambda p: (p / "a.txt").write_bytes(b"\xff\xfe\x00"), "a.txt", "UTF-8"),
        (lambda p: (p / "a.streams").write_text("\n"), "a.streams", "the list is empty"),
    ],
)
def test_what_cannot_be_read_says_so(tmp_path, make, text, message):
    make(tmp_path)
    with pytest.raises(ValueError, match=message):
        open_source(str(tmp_path / text))


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("ftp://host/a.jpg", "but got ftp://")])
def test_what_is_no_source_says_so(text, message):
    with pytest.raises(ValueError, match=message):
        open_source(text)


def test_output_names_are_different_and_stable():
    assert output_names(["a/x.jpg", "b/x.jpg", "x.png", "y.jpg"]) == ["x", "x_2", "x_3", "y"]
    assert output_names(["a/x.jpg", "b/x.jpg", "x_2.jpg"]) == ["x", "x_3", "x_2"]
    assert output_names(["X.jpg", "x.jpg"]) == ["X", "x_2"]  # some file systems take them for one


# videos


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "MJPG"), ("a.mp4", "mp4v")])
def test_video_frames_in_order(tmp_path, name, codec):
    file = save_video(tmp_path / name, codec=codec)
    frames = read(file)
    assert [frame.number for frame in frames] == list(range(1, 13))
    for i, frame in enumerate(frames):
        assert frame.image.mean() == pytest.approx(10 * i, abs=4)
    assert {(frame.kind, frame.fps, frame.name, frame.time_s) for frame in frames} == {("video", 10.0, "a", None)}
    assert frames[4].heading == f"video 1/1 (5/12) {file}"


def test_vid_stride_takes_the_last_of_each_group(tmp_path):
    frames = read(save_video(tmp_path / "a.avi", 12), vid_stride=5)
    assert [round(frame.image.mean() / 10) for frame in frames] == [4, 9]
    assert [(frame.number, frame.fps) for frame in frames] == [(1, 2.0), (2, 2.0)]
    with pytest.raises(ValueError, match="--vid-stride 0"):
        open_source(str(tmp_path / "a.avi"), vid_stride=0)


def test_videos_that_are_cut_short(tmp_path):
    avi = save_video(tmp_path / "a.avi", 40)
    avi.write_bytes(avi.read_bytes()[: avi.stat().st_size // 2])
    frames, troubles = split(read(avi))
    assert 0 < len(frames) < 40
    assert troubles[0].partial
    assert "of 40 frames: the file is cut short" in troubles[0].reason
    mp4 = save_video(tmp_path / "b.mp4", 40, codec="mp4v")
    mp4.write_bytes(mp4.read_bytes()[: mp4.stat().st_size // 2])
    assert "cannot be opened as a video" in read(mp4)[0].reason


def test_a_video_shorter_than_the_stride_says_so(tmp_path):
    frames, troubles = split(read(save_video(tmp_path / "a.avi", 3), vid_stride=7))
    assert frames == []
    assert troubles[0].reason == "has 3 frames, fewer than --vid-stride 7"


# the web


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from a table of path -> (status, content type, chunks); endless bodies are lists of parts."""

    def __init__(self, table, *args):
        self.table = table
        super().__init__(*args)

    def do_GET(self):
        status, kind, parts = self.table.get(self.path, (404, "text/plain", [b"gone"]))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        for part in parts:
            try:
                self.wfile.write(part)
            except OSError:  # the reader has gone
                return
            if len(parts) > 1:
                time.sleep(0.02)

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    """A server; yields its address and the table it answers from."""
    table = {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, table))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", table
    server.shutdown()
    server.server_close()
    thread.join()


def jpeg(value):
    return cv2.imencode(".jpg", np.full((48, 64, 3), value, np.uint8))[1].tobytes()


def motion_jpeg(values):
    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: "
    return [head + str(len(jpeg(v))).encode() + b"\r\n\r\n" + jpeg(v) + b"\r\n" for v in values]


def test_an_image_from_the_web(web):
    address, table = web
    table["/pictures/%E6%A0%87.jpg?size=1"] = (200, "image/jpeg", [jpeg(90)])
    (frame,) = read(f"{address}/pictures/%E6%A0%87.jpg?size=1")
    assert (frame.kind, frame.name, frame.suffix) == ("image", "标", ".jpg")
    assert frame.image.mean() == pytest.approx(90, abs=2)
    table["/broken.jpg"] = (200, "image/jpeg", [b"no picture"])
    assert isinstance(read(f"{address}/broken.jpg")[0], Trouble)


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/gone.jpg", None, "answers 404 Not Found"),
        ("/secret.jpg", (403, "text/plain", [b""]), "answers 403 Forbidden"),
        ("/page", (200, "text/html", [b"<html>"]), "the server sends text/html"),
    ],
)
def test_what_the_web_refuses_is_said(web, path, answer, message):
    address, table = web
    if answer:
        table[path] = answer
    with pytest.raises(ValueError, match=message) as caught:
        open_source(address + path)
    assert "\n" not in str(caught.value)


def test_a_server_that_is_not_there_is_said():
    with pytest.raises(ValueError, match="cannot be reached"):
        open_source("http://127.0.0.1:9/a.jpg", patience_s=2)
    with pytest.raises(ValueError, match="no stream could be opened"):
        open_source("rtsp://user:word@127.0.0.1:9/a", patience_s=2)


def test_a_video_from_the_web_is_read_frame_by_frame(web, tmp_path):
    address, table = web
    table["/a.mp4"] = (200, "video/mp4", [save_video(tmp_path / "a.avi", 5).read_bytes()])
    source = open_source(f"{address}/a.mp4")
    assert not source.live
    frames, _ = split(list(source))
    assert [frame.number for frame in frames] == [1, 2, 3, 4, 5]


def test_a_stream_gives_its_newest_frame_and_ends_when_it_is_lost(web):
    address, table = web
    table["/live"] = (200, "multipart/x-mixed-replace; boundary=frame", motion_jpeg(range(20, 200, 4)))
    with closing(open_source(f"{address}/live", patience_s=3)) as source:
        assert source.live
        frames = iter(source)
        first = next(frames)
        time.sleep(0.3)
        later = next(frames)
        assert (first.kind, first.number, later.number) == ("stream", 1, 2)
        assert later.time_s > first.time_s
        assert later.image.mean() > first.image.mean() + 20  # what came while nobody asked was dropped
        table.clear()  # from here on every connection gets 404
        frames, troubles = split(list(frames))
    assert troubles[0].partial
    assert "did not come back within 3 s" in troubles[0].reason


def test_a_stream_that_comes_back_goes_on(web):
    address, table = web
    table["/live"] = (200, "multipart/x-mixed-replace; boundary=frame", motion_jpeg([50] * 10))
    with closing(open_source(f"{address}/live", patience_s=10)) as source:
        for count, frame in enumerate(source, start=1):
            assert isinstance(frame, Frame)
            if count == 25:  # more than one connection gives
                break


def test_several_streams_side_by_side(web, tmp_path):
    address, table = web
    for name in ("one", "two"):
        table[f"/{name}"] = (200, "multipart/x-mixed-replace; boundary=frame", motion_jpeg([50] * 500))
    file = tmp_path / "all.streams"
    file.write_text(f"{address}/one\n# comment\n{address}/two\n97\n")
    with closing(open_source(str(file), patience_s=5)) as source:
        items = iter(source)
        assert next(items) == Trouble("97", "there is no camera 97 (no /dev/video97)") or sys.platform != "linux"
        seen = {next(items).name for _ in range(12)}
    assert seen == {"0_127.0.0.1_one", "1_127.0.0.1_two"}


def test_a_camera_that_is_not_there_is_said():
    with pytest.raises(ValueError, match="camera 97") as caught:
        open_source("97")
    assert "\n" not in str(caught.value)


def test_passwords_are_masked():
    assert masked("rtsp://me:secret@host:554/x?a=b") == "rtsp://me:***@host:554/x?a=b"
    assert masked("rtsp://host:554/x@y") == "rtsp://host:554/x@y"


# the screen


class FakeScreen:
    """What is used of mss: monitor 0 is everything, the others are single."""

    monitors = ({"left": 0, "top": 0, "width": 40, "height": 20}, {"left": 10, "top": 5, "width": 30, "height": 15})
    closed = False

    def grab(self, area):
        picture = np.zeros((area["height"], area["width"], 4), np.uint8)
        picture[..., 2] = 200  # BGRA
        picture[0, 0] = (area["left"], area["top"], 0, 255)
        return picture

    def close(self):
        FakeScreen.closed = True


@pytest.fixture
def screen(monkeypatch):
    package = types.ModuleType("mss")
    package.MSS = FakeScreen
    errors = types.ModuleType("mss.exception")
    errors.ScreenShotError = type("ScreenShotError", (Exception,), {})
    monkeypatch.setitem(sys.modules, "mss", package)
    monkeypatch.setitem(sys.modules, "mss.exception", errors)
    return package


@pytest.mark.parametrize(
    ("text", "shape", "corner"),
    [("screen", (20, 40, 3), (0, 0)), ("screen 1", (15, 30, 3), (10, 5)), ("screen 1 2 3 8 6", (6, 8, 3), (12, 8))],
)
def test_screen(screen, text, shape, corner):
    with closing(open_source(text)) as source:
        frame = next(iter(source))
    assert frame.image.shape == shape
    assert frame.image[1, 1].tolist() == [200, 0, 0]  # RGB
    assert frame.image[0, 0].tolist() == [0, corner[1], corner[0]]
    assert FakeScreen.closed


def test_screen_mistakes(screen, monkeypatch):
    with pytest.raises(ValueError, match="monitor from 0 to 1"):
        open_source("screen 4")
    with pytest.raises(ValueError, match=r"expected `screen \[monitor\]"):
        open_source("screen 1 2")
    monkeypatch.setitem(sys.modules, "mss", None)
    with pytest.raises(ValueError, match="pip install mss"):
        open_source("screen")
