"""Run the runs of a comparison on this machine, one after another or a few at a time."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from analysis.compare.execute.run_folder import FINISHED, RunFolder, execute
from engine.runtime.child_process import run_process
from engine.runtime.console import clock, say
from engine.runtime.folder_lock import locked

_PATIENCE_S = 60  # for a run to save and leave after Ctrl-C


class StoppedError(Exception):
    """The comparison is being stopped; the run is not to blame."""


class _Runner:
    """Executes runs in threads and stops their processes together."""

    def __init__(self, lock: int | None) -> None:
        self.lock = lock
        self.stopping = threading.Event()
        self.guard = threading.Lock()
        self.processes: set[subprocess.Popen[bytes]] = set()

    def run(self, folder: RunFolder) -> tuple[str, float]:
        """State and seconds of a run."""
        began = time.perf_counter()
        return execute(folder, self._launch), time.perf_counter() - began

    def _launch(self, command: list[str], log: Path) -> int:
        status = run_process(command, log, self._started, keep_open=() if self.lock is None else (self.lock,))
        with self.guard:
            self.processes = {process for process in self.processes if process.poll() is None}
        if self.stopping.is_set():
            raise StoppedError
        return status

    def _started(self, process: subprocess.Popen[bytes]) -> None:
        with self.guard:
            self.processes.add(process)
            if self.stopping.is_set():
                process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Ask every process to save and leave; end those that do not."""
        with self.guard:
            self.stopping.set()
            processes = list(self.processes)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def run_locally(planned: Sequence[RunFolder], comparison: Path, jobs: int) -> None:
    """Execute what is not finished, in order, `jobs` at a time.

    Raises:
        ValueError: If another process works in the folder.
        KeyboardInterrupt: After Ctrl-C or a request to terminate; runs under way have saved their last full epoch.
    """
    left = [folder for folder in planned if folder.state != FINISHED]
    say(f"{len(planned)} runs, {len(planned) - len(left)} finished already; in {comparison}")
    with locked(comparison) as lock, ThreadPoolExecutor(jobs) as pool:
        runner = _Runner(lock)
        began, done = time.perf_counter(), 0
        futures = {pool.submit(runner.run, folder): folder for folder in left}
        try:
            for future in as_completed(futures):
                done += 1
                state, seconds = future.result()
                spent = time.perf_counter() - began
                rest = spent / done * (len(left) - done)
                say(f"[{done}/{len(left)}] {outcome(futures[future], state)}, {clock(seconds)}; {clock(rest)} left")
        except KeyboardInterrupt:
            say("Stopping; the runs under way save their last full epoch. The same command goes on from there.")
            for future in futures:
                future.cancel()
            runner.stop()
            raise


def outcome(folder: RunFolder, state: str) -> str:
    """A finished run in a few words."""
    if state != FINISHED:
        return f"{folder.path.name}: {state}, {folder.read('error')['error']}"
    return f"{folder.path.name}: mAP50-95 {folder.read('measured')['map50_95']:.4f}"
