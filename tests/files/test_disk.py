"""A disk that is full and a folder that takes no files: one line with the folder, what is free and what is kept."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from files.disk import CannotWriteError, check_space, require_space, require_writable, results_in

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def full(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 300_000))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB, for those who may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_folder_that_takes_files_is_left_as_it_was(tmp_path):
    require_writable(tmp_path / "runs" / "train", "--project")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_files_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for there in (tmp_path / "file", Path("/proc")):
        if there.exists():
            with pytest.raises(
                CannotWriteError, match=rf"--project .*: {there} takes no files: .*; give another --pro"
            ):
                require_writable(there / "runs", "--project")


def test_a_full_disk_is_refused(tmp_path, full):
    with pytest.raises(CannotWriteError, match=r"runs: the disk is full, 0\.3 MB free; nothing was begun"):
        require_writable(tmp_path / "runs", "--project")
    with pytest.raises(CannotWriteError, match=r"runs: a checkpoint takes 5 MB, and 0\.3 MB free; make room"):
        require_space(tmp_path / "runs", 5_000_000, "a checkpoint")
    with pytest.raises(OSError, match="No space left"):
        check_space(tmp_path)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the quota on this disk is used up"),
        (OSError(errno.EROFS, "Read-only file system", "x/a.png"), "x/a.png: the file system is read-only"),
    ],
)
def test_the_reason_is_said_in_one_line(tmp_path, error, reason):
    def write():
        with results_in(tmp_path, "nothing"), results_in(tmp_path, lambda: "it is kept"):
            try:
                raise error
            except OSError as first:
                raise ValueError("a writer's own words") from first

    with pytest.raises(CannotWriteError, match=rf"^{tmp_path}: {reason}, \d+\.\d MB free; it is kept$"):
        write()


def test_errors_that_do_not_say_so_are_known_by_the_disk(tmp_path, full):
    with pytest.raises(CannotWriteError, match="the disk is full"), results_in(tmp_path):
        raise RuntimeError("unexpected pos 64 vs 0")  # torch
    with pytest.raises(ValueError, match=r"^the loss is no number$"), results_in(tmp_path):
        raise ValueError("the loss is no number")


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (RuntimeError("shapes"), FileNotFoundError(errno.ENOENT, "no such file"), TypeError("a bug")):
        with pytest.raises(type(error)), results_in(tmp_path):
            raise error


def test_a_disk_that_is_really_full(small_disk):
    (small_disk / "ballast").write_bytes(bytes(1_500_000))
    full = pytest.raises(CannotWriteError, match=r"the disk is full, 0\.\d MB free; the rest is kept")
    with full, results_in(small_disk, "the rest is kept"):
        (small_disk / "more").write_bytes(bytes(1_000_000))
    with pytest.raises(CannotWriteError, match="the disk is full"):
        require_writable(small_disk / "runs", "--project")


SCRIPT = """
import sys
from engine.config.parser import run_cli
def main():
    with open("big", "wb") as file:
        file.write(bytes(1 << 20))
sys.exit(run_cli(main))
"""


def test_a_script_ends_with_one_line(tmp_path, root):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "error: .: a file may not grow as large here" in done.stderr
