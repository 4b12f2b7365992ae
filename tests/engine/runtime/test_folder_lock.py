"""Locks on folders: who holds one is named, and it goes with its process."""

import os
import signal
import subprocess
import sys

import pytest

from engine.runtime.folder_lock import locked, trained_in

HOLDER = """
import sys, time
from pathlib import Path
from engine.runtime import folder_lock
with getattr(folder_lock, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the system has no such locks")


@pytest.mark.parametrize("lock", [locked, trained_in])
def test_the_second_process_is_told_who_holds_it(tmp_path, root, lock):
    command = [sys.executable, "-c", HOLDER, lock.__name__, str(tmp_path)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            for _ in range(2):  # asking does not wipe the name out
                with pytest.raises(ValueError, match=rf"is at work in this folder: process {holder.pid} on .*, since "):
                    lock(tmp_path).__enter__()
        finally:
            holder.send_signal(signal.SIGKILL)
        holder.wait()
    with lock(tmp_path):
        pass


def test_training_does_not_mind_who_started_it(tmp_path):
    with locked(tmp_path), trained_in(tmp_path):
        pass


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot be written"), trained_in(tmp_path / "file"):
        pass
