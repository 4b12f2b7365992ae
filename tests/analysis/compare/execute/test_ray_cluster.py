"""A comparison on a real Ray cluster of two workers, one of which is killed midway."""

import csv
import gc
import getpass
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from analysis.compare.execute.ray_cluster import run_on_ray, run_remotely
from analysis.compare.execute.run_folder import FINISHED, RunFolder
from models import build_model, load_spec, save_model


def test_without_the_package_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match="the package ray is not installed; pip install"):
        run_on_ray([], "auto", device="cpu", workers=0)


def test_a_task_returns_the_files_of_its_run(planned, tmp_path, monkeypatch) -> None:
    """Made-up training on "another machine": what was sent is there, and what it leaves comes back."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))

    def train(command, log, keep_open) -> int:
        folder = RunFolder(log.parent)
        assert folder.plan.module == "SE"
        folder.write("measured", {"map50_95": 0.5})
        model = build_model(load_spec(folder.plan.train["cfg"]))
        save_model(model, folder.last, training={"epochs_done": 2})
        return 0

    monkeypatch.setattr("analysis.compare.execute.ray_cluster.run_process", train)
    plan = planned()[1]
    folder = RunFolder(tmp_path / plan.folder_name)
    folder.write("run", plan.to_dict())
    found = run_remotely(plan.folder_name, {"run.json": (folder.path / "run.json").read_bytes()})
    assert {"run.json", "measured.json", "sessions.json"} <= set(found)
    assert "weights/last.pt" not in found
    assert not list((tmp_path / "elsewhere").glob("*/*"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_killed_worker_loses_nothing(command, tmp_path, root) -> None:
    pytest.importorskip("ray", reason="the package ray is not installed")
    from ray.cluster_utils import Cluster

    scratch = Path(tempfile.gettempdir()) / f"compare-{getpass.getuser()}"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
    try:
        with (tmp_path / "said.txt").open("w") as said:
            words = [sys.executable, "compare.py", *command, "--ray", cluster.address]
            process = subprocess.Popen(words, cwd=root, stdout=said, stderr=subprocess.STDOUT)
            names = lambda: {file.parent.name for file in (tmp_path / "exp").glob("runs/*/run.json")}  # noqa: E731
            deadline = time.monotonic() + 1200
            while not any((scratch / name / "log.txt").is_file() for name in names()):
                assert process.poll() is None, (tmp_path / "said.txt").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.5)
            cluster.remove_node(workers[0], allow_graceful=False)
            assert process.wait(1800) == 0, (tmp_path / "said.txt").read_text()
    finally:
        cluster.shutdown()
        del cluster, workers
        gc.collect()  # Ray leaves processes unwaited for, which warn when they are collected
        for name in names():
            shutil.rmtree(scratch / name, ignore_errors=True)
    with (tmp_path / "exp" / "results.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == [FINISHED] * 4
