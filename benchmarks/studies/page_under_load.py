"""Ten clients of the page at once: do they get their answers in order, how long do they wait, what memory does it take?

python -m benchmarks.studies.page_under_load [--clients 10] [--rounds 5]

In each round every client asks once for the boxes of a photograph, one shortly after the other. Then more ask at once
than the queue has room for. Photographs differ in a pixel, as those of different people do: gradio keeps a result under
the hash of its content, and writes it anew while another client may be reading it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import psutil
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError

from files.find import ROOT

_PHOTO = np.asarray(cv2.imread(str(ROOT / "data/images/crossroads.jpg")), np.uint8)
_NUMBERS = itertools.count()
_SETTINGS = ("weights/yolov5n.pt", None, 0.25, 0.45, 640, [], "")
_APART_S = 0.05  # between the clients of a round, so that there is an order
_TOO_MANY = 60


@contextlib.contextmanager
def served() -> Iterator[tuple[str, psutil.Process]]:
    """The page in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None or "The page is at" not in server.stdout.readline():
            raise SystemExit("the page did not start")
        yield f"http://127.0.0.1:{port}/", psutil.Process(server.pid)
        server.terminate()


def watch(process: psutil.Process, stop: threading.Event, seen_mb: list[float]) -> None:
    """Take the server's memory ten times a second."""
    while not stop.wait(0.1):
        seen_mb.append(process.memory_info().rss / 1e6)


def ask(client: Client, wait_s: float = 0.0) -> tuple[float, float, int]:
    """Ask for the boxes -> when asked, when answered, how many boxes."""
    with tempfile.TemporaryDirectory() as folder:
        photo, number = _PHOTO.copy(), next(_NUMBERS)
        row, column = divmod(number, photo.shape[1])
        photo[row, column] = 255 - photo[row, column]
        file = Path(folder, "photo.png")
        cv2.imwrite(str(file), photo)
        time.sleep(wait_s)
        asked_s = time.perf_counter()
        boxes = client.predict(handle_file(str(file)), *_SETTINGS, api_name="/detect")[4]["data"]
        return asked_s, time.perf_counter(), len(boxes)


def refused(client: Client) -> bool:
    """Whether a request finds the queue full."""
    try:
        ask(client)
    except QueueError:
        return True
    return False


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with served() as (address, process), ThreadPoolExecutor(_TOO_MANY) as pool:
        clients = [Client(address, verbose=False) for _ in range(given.clients)]
        alone_s = [after - before for before, after, _ in (ask(clients[0]) for _ in range(4))][1:]
        stop, seen_mb = threading.Event(), [process.memory_info().rss / 1e6]
        pool.submit(watch, process, stop, seen_mb)
        waits_s, out_of_order, counts = [], 0, set()
        for _ in range(given.rounds):
            answers = list(pool.map(ask, clients, np.arange(given.clients) * _APART_S))
            waits_s += [after - before for before, after, _ in answers]
            out_of_order += int((np.diff([after for _, after, _ in answers]) < 0).sum())
            counts |= {count for *_, count in answers}
        answered = len(waits_s)
        full = sum(pool.map(refused, (clients * _TOO_MANY)[:_TOO_MANY]))
        last = ask(clients[0])
        stop.set()
        print(f"alone: {np.median(alone_s) * 1000:.0f} ms an answer")
        print(f"{given.clients} clients, {given.rounds} rounds: {answered} answers, {out_of_order} out of order, "
              f"boxes {sorted(counts)}")  # fmt: skip
        print(f"waiting: median {np.median(waits_s):.2f} s, longest {max(waits_s):.2f} s")
        print(f"{_TOO_MANY} at once: {full} were told that the queue is full; then {last[2]} boxes again")
        print(f"memory: {seen_mb[0]:.0f} MB before, {max(seen_mb):.0f} MB at most, {seen_mb[-1]:.0f} MB after")


if __name__ == "__main__":
    print(f"{Path(__file__).stem}: {psutil.cpu_count()} cores")
    main()
