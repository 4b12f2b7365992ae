"""Scripts in the background: they outlive who started them, are found again by their folder, and leave when asked."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from engine.runtime.background import is_running, log_tail, start, started, stop

WAITING = """
import pathlib, signal, sys, time
def leave(number, frame):
    pathlib.Path(sys.argv[1], "saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, leave)
print("one\\n\\ntwo", flush=True)
time.sleep(60)
"""


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_it_outlives_who_started_it_and_stops_when_asked(root, tmp_path) -> None:
    folder = tmp_path / "run; touch x"  # no shell reads it
    starter = f"import engine.runtime.background as b, pathlib\nb.start({['-c', WAITING, str(folder)]!r}, "
    starter += f"pathlib.Path({str(folder)!r}))"
    deaf = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}  # as behind `&` in a script
    subprocess.run([sys.executable, "-c", starter], cwd=root, check=True, **deaf)
    until(lambda: log_tail(folder, 1) == "two")
    assert is_running(folder)
    assert log_tail(folder, 5) == "one\ntwo"
    with pytest.raises(ValueError, match="still running; stop it first"):
        start(["-c", ""], folder)
    stop(folder)
    until(lambda: not is_running(folder))
    assert (folder / "saved").exists()
    with pytest.raises(ValueError, match="nothing that was started there is running"):
        stop(folder)


def test_one_that_has_ended_is_no_zombie_and_may_be_followed_by_another(tmp_path) -> None:
    start(["-c", "print('first')"], tmp_path)
    number = started(tmp_path).process
    until(lambda: not psutil.pid_exists(number))
    assert not is_running(tmp_path)
    start(["-c", "print('second')"], tmp_path)
    until(lambda: not is_running(tmp_path))
    assert started(tmp_path).words == ("-c", "print('second')")
    assert log_tail(tmp_path, 9) == "first\nsecond"


def test_another_process_of_the_same_number_is_not_taken_for_it(tmp_path) -> None:
    note = {"words": ["train.py"], "process": os.getpid(), "began_s": psutil.Process().create_time()}
    (tmp_path / ".started.json").write_text(json.dumps(note))
    assert is_running(tmp_path)
    (tmp_path / ".started.json").write_text(json.dumps({**note, "began_s": note["began_s"] - 60}))
    assert not is_running(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"words": 3}', '{"words": [], "process": "x", "began_s": 0}'])
def test_a_damaged_note_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / ".started.json").write_text(text)
    assert started(tmp_path) is None
    assert not is_running(tmp_path)
    assert not is_running(tmp_path / "missing")
