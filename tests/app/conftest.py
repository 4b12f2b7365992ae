"""The page, served once for all tests as its user serves it, and clients of it."""

import contextlib
import gc
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def folder(root, tmp_path_factory) -> Path:
    """The folder that the page may read, the working one of its server, with the weights that come with the project."""
    place = tmp_path_factory.mktemp("page")
    (place / "weights").mkdir()
    shutil.copy(root / "weights/yolov5n.pt", place / "weights")
    return place


@pytest.fixture(scope="session")
def address(root, folder) -> Iterator[str]:
    """Where the page is served, with `folder` and data/ to read from; it ends in good order."""
    pytest.importorskip("gradio", reason="the package gradio is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(root / "app.py"), "--port", str(port), "--no-browser"]
    command += ["--folder", ".", "--folder", str(root / "data")]
    with (folder / "said.txt").open("w") as said:
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=said, text=True)
    with server:
        line = server.stdout.readline()
        assert "The page is at" in line, (folder / "said.txt").read_text()
        yield line.split()[4].rstrip(";")
        server.terminate()
        server.stdout.read()
        assert server.wait(20) == 143


@pytest.fixture(scope="module")
def client(address) -> Iterator[object]:
    """A client of the page, as a browser is one."""
    from gradio_client import Client

    with contextlib.closing(Client(address, verbose=False)) as one:
        yield one
    del one
    gc.collect()  # while the warnings about what it leaves open are not heard
