"""Run the runs of a comparison on a Ray cluster: each is one task, retried when its worker dies.

A task trains in a temporary folder of the machine that it lands on and hands the run's files back to this process,
which writes them into the comparison's folder; nothing but this process needs that folder. The repository, the data and
the weights must lie under the same paths on every machine. A task that is tried again on the same machine goes on with
what is left of its first try; where the training outlived its worker, that is waited for.
"""

from __future__ import annotations

import getpass
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.compare.execute.local import outcome
from analysis.compare.execute.run_folder import FINISHED, INTERRUPTED, TRAINED, RunFolder, execute
from engine.runtime.child_process import run_process
from engine.runtime.console import say
from engine.runtime.folder_lock import locked
from files.find import ROOT

RETRIES = 3  # of a task whose worker died; an error of the run itself is recorded instead
_LEFT_BEHIND = "last.pt"  # of a finished run: as large as all the rest


def run_on_ray(planned: Sequence[RunFolder], address: str, *, device: str, workers: int) -> None:
    """Execute what is not finished, as many at a time as the cluster has room for.

    Args:
        planned: The runs, in the order in which they are handed out.
        address: `auto` for the cluster that this machine belongs to, `local` for one of its own, or host and port.
        device: `--device` of the runs: a GPU for each, if the cluster has any, unless it is `cpu`.
        workers: `--workers` of the runs: as many CPUs for each, at most those of the largest machine.

    Raises:
        ValueError: If Ray is not installed or the cluster is not reached.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]  (optional)
    except ImportError as error:
        raise ValueError('--ray: the package ray is not installed; pip install "ray>=2.60,<3"') from error
    try:
        environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        context = ray.init(address=address, runtime_env={"env_vars": environment}, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise ValueError(f"--ray {address}: no cluster was reached: {error}") from error
    with context:
        largest = max(node["Resources"].get("CPU", 0) for node in ray.nodes())
        gpus = 1 if device != "cpu" and ray.cluster_resources().get("GPU") else 0
        resources = {"num_cpus": max(min(workers, largest), 1), "num_gpus": gpus}
        task = ray.remote(max_retries=RETRIES, **resources)(run_remotely)
        left = [folder for folder in planned if folder.state != FINISHED]
        say(f"{len(planned)} runs, {len(planned) - len(left)} finished already; cluster {address}")
        waiting = {task.remote(folder.path.name, _files(folder)): folder for folder in left}
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            folder = waiting.pop(done)
            try:
                _store(folder, ray.get(done))
            except ray.exceptions.RayError as error:
                folder.write("error", {"stage": "cluster", "status": 1, "error": str(error).splitlines()[0], "log": ""})
            say(f"[{len(left) - len(waiting)}/{len(left)}] {outcome(folder, folder.state)}")


def run_remotely(name: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The task: bring a run to its end on this machine and return its files.

    Args:
        name: The run's folder name.
        files: What is there of it already, by path below its folder.
    """
    folder = RunFolder(Path(tempfile.gettempdir()) / f"compare-{getpass.getuser()}" / name)
    with locked(folder.path, wait=True) as lock:
        if folder.progress not in (INTERRUPTED, TRAINED):  # nothing is left of an earlier try on this machine
            _store(folder, files)
        keep_open = () if lock is None else (lock,)
        execute(folder, lambda command, log: run_process(command, log, keep_open=keep_open))
        found = _files(folder)
    shutil.rmtree(folder.path)
    return found


def _files(folder: RunFolder) -> dict[str, bytes]:
    """Every file of a run that is worth sending."""
    files = [file for file in sorted(folder.path.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    finished = folder.state == FINISHED
    return {
        file.relative_to(folder.path).as_posix(): file.read_bytes()
        for file in files
        if not (finished and file.name == _LEFT_BEHIND)
    }


def _store(folder: RunFolder, files: Mapping[str, bytes]) -> None:
    """Write a run's files; `measured.json`, which says that it is finished, last."""
    if "error.json" not in files:
        (folder.path / "error.json").unlink(missing_ok=True)
    for name, content in sorted(files.items(), key=lambda item: item[0] == "measured.json"):
        file = folder.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        temporary.write_bytes(content)
        temporary.replace(file)
