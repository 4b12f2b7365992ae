"""Finding weights and fetching the stock ones, against a server on this machine."""

import hashlib
import http.server
import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from models.weights import download
from models.weights.checkpoint import load_model


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `content`, and misbehaves as told by the file's name."""

    content = b""

    def do_GET(self) -> None:
        content = b"<html>Sign in</html>" if "yolov5m" in self.path else self.content
        if "yolov5l" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if "yolov5s" in self.path else content)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    monkeypatch.setattr(download, "FOLDER", folder)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1000)}, buffer)
    Handler.content = buffer.getvalue()
    monkeypatch.setattr(download, "STOCK", dict.fromkeys(download.STOCK, hashlib.sha256(Handler.content).hexdigest()))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/v7.0/"
    monkeypatch.setattr(download, "RELEASE", address)
    monkeypatch.setenv("no_proxy", "*")
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stock_name_is_fetched_once_with_a_bar_after_saying_so(
    weights: Path, release: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = download.find_weights("yolov5n.pt")
    assert file == weights / "yolov5n.pt"
    assert file.read_bytes() == Handler.content
    shown = capsys.readouterr()
    assert f"yolov5n.pt is not on disk: fetching {release}yolov5n.pt into weights/" in shown.out
    assert "yolov5n.pt: 100%" in shown.err
    assert download.find_weights("yolov5n.pt") == file
    assert capsys.readouterr().out == ""
    assert [p.name for p in weights.iterdir()] == ["yolov5n.pt"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_mirror_may_be_named(weights: Path, release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RELEASE", "http://127.0.0.1:9/blocked/")
    monkeypatch.setenv("YOLOV5_WEIGHTS_MIRROR", release.rstrip("/"))
    assert download.find_weights("yolov5n.pt").read_bytes() == Handler.content


def test_another_file_of_that_name_is_refused(weights: Path, release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(download.STOCK, "yolov5n.pt", "0" * 64)
    with pytest.raises(ValueError, match=r"has the SHA-256 .*, not 0000.*thrown away"):
        download.find_weights("yolov5n.pt")
    assert not list(weights.iterdir())


def test_hashes_of_the_stock_files_are_whole() -> None:
    assert len(set(download.STOCK.values())) == len(download.STOCK) == 10
    assert all(len(value) == 64 and int(value, 16) for value in download.STOCK.values())


def test_a_stock_name_in_the_weights_folder_is_the_same(weights: Path, release: str) -> None:
    assert download.find_weights("weights/yolov5x6.pt") == weights / "yolov5x6.pt"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("yolov5s.pt", r"\d+ of \d+ bytes arrived"),
        ("yolov5l.pt", "HTTP Error 404"),
        ("yolov5m.pt", "what arrived is no weights file"),
    ],
)
def test_a_transfer_that_fails_leaves_nothing(weights: Path, release: str, name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} could not be fetched: .*{reason}.* Get {release}{name} in an"):
        download.find_weights(name)
    assert list(weights.iterdir()) == []


def test_offline_is_one_error_with_the_address(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # bound but not listening: a connection is refused
        monkeypatch.setattr(download, "RELEASE", f"http://127.0.0.1:{port}/")
        monkeypatch.setenv("no_proxy", "*")
        with pytest.raises(
            ValueError, match=rf"yolov5n.pt could not be .*refused.* Get http://127.0.0.1:{port}/yolov5n.pt"
        ):
            load_model("yolov5n.pt")
    assert list(weights.iterdir()) == []


def test_the_release_is_the_originals() -> None:
    assert download.RELEASE == "https://github.com/ultralytics/yolov5/releases/download/v7.0/"
    assert tuple(download.STOCK)[:5] == tuple(f"yolov5{size}.pt" for size in "nsmlx")


def test_a_file_here_goes_before_one_in_weights(weights: Path, tmp_path: Path) -> None:
    weights.mkdir()
    (weights / "mine.pt").touch()
    assert download.find_weights("mine.pt") == weights / "mine.pt"
    (tmp_path / "mine.pt").touch()
    assert download.find_weights("mine.pt") == Path("mine.pt")
    assert download.find_weights(tmp_path / "mine.pt") == tmp_path / "mine.pt"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "yolo5s.pt",
            "weights file 'yolo5s.pt' was not found here or in weights/; give the path of .* nearest known: yolov5s.pt",
        ),
        ("yolov5s", r"nearest known: yolov5s\d?.pt"),
        ("other/yolov5n.pt", r"was not found.*; nearest known: yolov5n.pt"),
        ("", "weights file '' was not found"),
        ("a\0b", "was not found"),
        ("x" * 3000, "was not found"),
        (".", "expected a weights file but this is a folder"),
    ],
)
def test_no_such_file(weights: Path, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        download.find_weights(name)
