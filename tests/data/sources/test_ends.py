"""What has an end is read once, to its end; what is live is tried again; nothing holds the program for ever."""

import base64
import socket
import time
from contextlib import closing

import cv2
import numpy as np
import pytest

from data.sources import live_streams, web
from data.sources.frame import Frame, Trouble
from data.sources.live_streams import open_live
from data.sources.open_source import open_source
from tests.support.web_server import head, serve, whole

BOUNDARY = "multipart/x-mixed-replace; boundary=frame"


def video(path, frames, codec="mp4v"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (64, 48))
    for i in range(frames):
        writer.write(np.full((48, 64, 3), 6 * i % 256, np.uint8))
    writer.release()
    return path


def read(text, **options):
    with closing(open_source(str(text), **options)) as source:
        items = list(source)
    return source, [i for i in items if isinstance(i, Frame)], [i for i in items if isinstance(i, Trouble)]


def part(value):
    picture = cv2.imencode(".jpg", np.full((48, 64, 3), value, np.uint8))[1].tobytes()
    return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(picture), picture)


def camera(handler, values=range(0, 200, 10), pause_s=0.02, then_s=0.0):
    head(handler, BOUNDARY)
    for value in values:
        handler.wfile.write(part(value))
        time.sleep(pause_s)
    time.sleep(then_s)


def test_a_list_of_videos_ends_with_them(tmp_path):
    video(tmp_path / "a.mp4", 10)
    video(tmp_path / "b.mp4", 6)
    (tmp_path / "list.streams").write_text(f"{tmp_path / 'a.mp4'}\nb.mp4\n")  # by their path and beside the list
    source, frames, troubles = read(tmp_path / "list.streams")
    assert not source.live
    assert troubles == []
    assert [sum(name in frame.path for frame in frames) for name in ("a.mp4", "b.mp4")] == [10, 6]
    means = [frame.image.mean() for frame in frames if "a.mp4" in frame.path]
    np.testing.assert_allclose(means, [6 * i for i in range(10)], atol=4)
    assert len({frame.name for frame in frames}) == 2
    assert {frame.time_s for frame in frames} == {None}  # their videos are written frame by frame


def test_a_list_of_a_camera_and_a_video(tmp_path):
    video(tmp_path / "a.mp4", 10)
    with serve({"/live": camera}) as address:
        (tmp_path / "list.streams").write_text(f"{address}/live\na.mp4\nhttp://u:secret@127.0.0.1:9/x\n")
        with closing(open_source(str(tmp_path / "list.streams"))) as source:
            assert source.live
            items = iter(source)
            assert next(items).path == "http://***@127.0.0.1:9/x"
            seen = [next(items).name for _ in range(14)]
    assert seen.count("1_a") == 10
    assert set(seen) == {"0_127.0.0.1_live", "1_a"}


@pytest.mark.parametrize("codec", ["mp4v", "MJPG"])
def test_a_video_at_an_address_without_suffix_is_read_once(tmp_path, codec):
    file = video(tmp_path / ("a.mp4" if codec == "mp4v" else "a.avi"), 40, codec)
    asked = []
    with serve({"/clip": whole(file.read_bytes())}, asked) as address:
        source, frames, troubles = read(f"{address}/clip")
        assert (source.live, len(frames), troubles) == (False, 40, [])
        assert len(asked) <= 4
        (tmp_path / "list.streams").write_text(f"{address}/clip\n" if codec == "MJPG" else f"{file}\n")
        assert len(read(tmp_path / "list.streams")[1]) == 40


def test_an_index_at_the_end_on_a_server_of_whole_files(tmp_path, monkeypatch, capsys):
    writer = cv2.VideoWriter(str(tmp_path / "a.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (160, 96))
    for _ in range(40):
        writer.write(np.random.randint(0, 255, (96, 160, 3), np.uint8))
    writer.release()
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"mdat") + 100_000 < content.index(b"moov")  # more than a player reads at a time
    with serve({"/a.mp4": whole(content, "video/mp4")}) as address:
        _, frames, troubles = read(f"{address}/a.mp4")
        assert (len(frames), troubles) == (40, [])
        assert "fetching all of it" in capsys.readouterr().err
        monkeypatch.setattr(web, "MOST_VIDEO_BYTES", 1000)
        _, frames, (trouble,) = read(f"{address}/a.mp4")
        assert frames == []
        assert "nor can it be fetched: it is larger than" in trouble.reason


def drips(handler):
    head(handler, "image/jpeg", 100000)
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.1)


def drips_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.1)


def breaks_off(handler):
    head(handler, "image/jpeg", 100000)
    handler.wfile.write(b"x" * 500)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (drips, r"cannot be fetched: \d+ of 100000 bytes arrived in 1 s; the whole transfer may take 1 s"),
        (drips_headers, "cannot be reached: no answer within 1 s"),
        (breaks_off, "cannot be fetched: the connection broke off after 500 of 100000 bytes"),
    ],
)
def test_one_deadline_for_a_whole_transfer(answer, message):
    began = time.monotonic()
    with serve({"/a.jpg": answer}) as address, pytest.raises(ValueError, match=message):
        web.open_url(f"{address}/a.jpg", 1, patience_s=1, image_s=1)
    assert time.monotonic() - began < 4


def test_a_user_in_the_address_is_told_to_the_server():
    wanted = "Basic " + base64.b64encode(b"us er:p@ss/!").decode()

    def locked(then):
        def answer(handler):
            if handler.headers.get("Authorization") == wanted:
                then(handler)
                return
            handler.send_response(401)
            handler.send_header("WWW-Authenticate", 'Basic realm="camera"')
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        return answer

    picture = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    with serve({"/still": locked(whole(picture, "image/png")), "/live": locked(camera)}) as address:
        named = address.replace("://", "://us%20er:p@ss%2F!@")
        _, (frame,), _ = read(f"{named}/still")
        assert (frame.path, frame.name) == (f"{address.replace('://', '://***@')}/still", "still")
        with closing(open_source(f"{named}/live")) as source:
            frame = next(iter(source))
        assert "ss" not in frame.name + frame.path + frame.heading
        with pytest.raises(ValueError, match=r"answers 401 Unauthorized; user and password go before the host"):
            open_source(f"{address}/still")


def test_a_stream_without_frames_says_so():
    began = time.monotonic()
    refused = pytest.raises(ValueError, match="no stream could be opened there within 1 s")
    with serve({"/live": lambda handler: camera(handler, (), then_s=5)}) as address, refused:
        open_source(f"{address}/live", patience_s=1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ValueError, match="no stream could be opened there within 1 s"):
            open_source(f"tcp://127.0.0.1:{silent.getsockname()[1]}", patience_s=1)
    assert time.monotonic() - began < 9


def test_a_stream_that_falls_silent_says_so(monkeypatch, capsys):
    monkeypatch.setattr(live_streams, "_SILENT_S", 0.5)
    monkeypatch.setattr(live_streams, "_LONGEST_PAUSE_S", 0.5)
    with (
        serve({"/live": lambda handler: camera(handler, (0, 50, 100), then_s=8)}) as address,
        closing(open_live(f"{address}/live", 1, patience_s=1)) as source,
    ):
        for number, _ in enumerate(source):
            if f"{address}/live: no frame for" in capsys.readouterr().err:
                break
            assert number < 20


def test_a_camera_that_ends_every_connection_is_asked_less_and_less(monkeypatch):
    monkeypatch.setattr(live_streams, "_FIRST_PAUSE_S", 0.1)
    asked = []
    with (
        serve({"/live": lambda handler: camera(handler, range(10), 0)}, asked) as address,
        closing(open_live(f"{address}/live", 1, patience_s=1)) as source,
    ):
        began = time.monotonic()
        for _ in source:
            if time.monotonic() - began > 1.2:  # with a frame of the connection after the pauses 0.1, 0.2, 0.4 and 0.8
                break
    assert 3 <= len(asked) <= 7
