"""The tab Detect finds what detect.py finds, and what is no image, no zip and no model is one message."""

import csv
import json
import os
import pickle
import zipfile
import zlib
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest

import detect

gradio_client = pytest.importorskip("gradio_client", reason="the package gradio is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # gradio's client leaves its loop to the collector
SETTINGS = ("weights/yolov5n.pt", None, 0.3, 0.5, 320, ["car", "person"], "")


@pytest.fixture
def photo(root) -> Path:
    return root / "data/images/crossroads.jpg"


def sent(file: Path) -> object:
    return gradio_client.handle_file(str(file))


def refusal(client, *given: object, api_name: str = "/detect") -> str:
    """The one message of a request that must not succeed."""
    with pytest.raises(gradio_client.exceptions.AppError) as error:
        client.predict(*given, api_name=api_name)
    assert "\n" not in str(error.value)
    return str(error.value)


def bomb(file: Path, side: int = 40_000) -> Path:
    """A PNG of a few kB that claims 4.8 GB of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    row = zlib.compress(bytes(1 + 3 * side))
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", row) + chunk(b"IEND", b""))
    return file


def test_boxes_files_and_counts_are_those_of_detect_py(client, photo, folder, tmp_path) -> None:
    _, heat, line, counts, boxes, files = client.predict(sent(photo), *SETTINGS, api_name="/detect")
    detect.run(
        weights=str(folder / "weights/yolov5n.pt"), source=str(photo), project=str(tmp_path), name="cli",
        conf_thres=0.3, iou_thres=0.5, imgsz=[320], classes=["car", "person"], save_txt=True, save_csv=True,
    )  # fmt: skip
    expected = tmp_path / "cli"
    by_name = {Path(file).name: Path(file).read_bytes() for file in files}
    assert by_name["predictions.csv"] == (expected / "predictions.csv").read_bytes()
    assert by_name["crossroads.txt"] == (expected / "labels/crossroads.txt").read_bytes()
    assert by_name["crossroads.jpg"] == (expected / "crossroads.jpg").read_bytes()
    rows = list(csv.DictReader((expected / "predictions.csv").open()))
    assert len(rows) > 3
    assert [row[0] for row in boxes["data"]] == [row["Prediction"] for row in rows]
    assert [row[1:] for row in boxes["data"]] == [
        pytest.approx([float(row[key]) for key in ("Confidence", "X1", "Y1", "X2", "Y2")], abs=0.051) for row in rows
    ]
    assert {tuple(row) for row in counts["data"]} == {
        (name, sum(row["Prediction"] == name for row in rows)) for name in {row["Prediction"] for row in rows}
    }
    assert line.startswith("256×320 px")
    assert heat["visible"] is False


def test_a_heat_map_on_request(client, photo) -> None:
    _, heat, *_ = client.predict(sent(photo), *SETTINGS[:-1], "cam", api_name="/detect")
    assert Path(heat["value"]).stat().st_size > 10_000
    assert "no attention" in refusal(client, sent(photo), *SETTINGS[:-1], "gates")


def test_a_zip_of_images_gives_all_their_results_and_names_what_is_broken(client, photo, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(photo, "deep/a.jpg")
        archive.write(photo.with_name("stop_sign.jpg"), "b.jpg")
        archive.writestr("c.jpg", "<html></html>")
        archive.write(bomb(tmp_path / "d.png"), "d.png")
        archive.writestr("notes.md", "no image")
    video, pictures, line, results = client.predict(sent(tmp_path / "set.zip"), 1, *SETTINGS, api_name="/detect_files")
    assert video is None
    assert len(pictures) == 2
    assert "2 images or videos" in line
    assert "c.jpg: is no image" in line
    assert "d.png: the image takes" in line
    with zipfile.ZipFile(results) as archive:
        assert {"a.jpg", "b.jpg", "predictions.csv", "labels/a.txt", "labels/b.txt"} <= set(archive.namelist())


def test_a_zip_that_climbs_or_is_none_is_refused(client, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as archive:
        archive.writestr("../../evil.jpg", "x")
    assert "evil.jpg" in refusal(client, sent(tmp_path / "up.zip"), 1, *SETTINGS, api_name="/detect_files")
    (tmp_path / "no.zip").write_text("no archive")
    assert "no.zip" in refusal(client, sent(tmp_path / "no.zip"), 1, *SETTINGS, api_name="/detect_files")


def test_a_video_comes_back_as_one_that_browsers_play(client, tmp_path) -> None:
    av = pytest.importorskip("av", reason="the package av is not installed")
    file = tmp_path / "street.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 96, 64
        for grey in (50, 100, 150, 200):
            picture = av.VideoFrame.from_ndarray(np.full((64, 96, 3), grey, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    video, pictures, *_ = client.predict(sent(file), 2, *SETTINGS[:4], 64, [], "", api_name="/detect_files")
    with av.open(video["video"] if isinstance(video, dict) else video) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in container.decode(video=0)) == 2  # every second frame
    assert pictures == []


def test_what_is_no_image_is_one_message_and_the_server_goes_on(client, photo, tmp_path) -> None:
    (tmp_path / "page.jpg").write_text("<!doctype html><title>404</title>")
    assert refusal(client, sent(tmp_path / "page.jpg"), *SETTINGS) == "page.jpg: is no image of a known format"
    assert "takes" in refusal(client, sent(bomb(tmp_path / "bomb.png")), *SETTINGS)
    (tmp_path / "list.txt").write_text(str(photo))
    assert "expected an image" in refusal(client, sent(tmp_path / "list.txt"), *SETTINGS)
    with (tmp_path / "large.jpg").open("wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(50 << 20)
    assert "large.jpg" in refusal(client, sent(tmp_path / "large.jpg"), *SETTINGS)
    assert refusal(client, None, *SETTINGS) == "Give an image first."
    assert client.predict(sent(photo), *SETTINGS, api_name="/detect")[3]["data"]


def test_evil_weights_run_nothing(client, photo, tmp_path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'was_run'}",)

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    assert "evil.pt" in refusal(client, sent(photo), "", sent(tmp_path / "evil.pt"), *SETTINGS[2:])
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("weights", ["/etc/passwd", "../../../etc/passwd", "", "weights/none.pt", "weights"])
def test_weights_outside_the_folders_or_missing(client, photo, weights) -> None:
    assert refusal(client, sent(photo), weights, *SETTINGS[1:])


def test_settings_out_of_range_and_unknown_classes(client, photo) -> None:
    assert "1536" in refusal(client, sent(photo), *SETTINGS[:4], 10**9, [], "")
    assert "unicorn" in refusal(client, sent(photo), *SETTINGS[:5], ["unicorn"], "")


def test_a_file_of_the_server_that_was_not_uploaded_is_not_read(address, photo) -> None:
    given = {"path": str(photo), "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [given, *SETTINGS]}).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{address}gradio_api/call/detect", body, headers)) as answer:
        event = json.load(answer)["event_id"]
    with urlopen(f"{address}gradio_api/call/detect/{event}") as answer:
        said = answer.read().decode()
    assert "event: error" in said
    assert "car" not in said
