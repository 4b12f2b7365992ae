"""Best epoch on val, figures on test; settings that came later; runs at a time."""

import shutil
from dataclasses import dataclass, replace

import pytest
import torch
import yaml

from analysis.compare.execute import time_estimate
from analysis.compare.execute.image_results import ImageResults
from analysis.compare.execute.measure import measure
from analysis.compare.execute.run_folder import RunFolder
from analysis.compare.execute.time_estimate import runs_at_once
from analysis.compare.plan import expand_plan
from analysis.compare.plan.command_line import parse_compare_args
from analysis.compare.plan.expand_plan import expand
from engine.config.train_config import TrainConfig
from engine.runtime.child_process import run_process


def test_figures_are_those_of_the_test_split(command, root, tmp_path) -> None:
    """signs_tiny has 8 images in val and 4 in test."""
    weights = root / "weights" / "yolov5n_ca_signs.pt"
    words = ["--data", "signs_tiny.yaml", "--img", "320", "--weights", str(weights), "--attention", "none"]
    request = parse_compare_args([*command, *words, "--task", "test"])
    run = expand(request.axes, request.shared, request.task)[0]
    folder = RunFolder(tmp_path / run.folder_name)
    folder.write("run", run.to_dict())
    folder.best.parent.mkdir()
    shutil.copy(weights, folder.path / "weights" / "best.pt")
    measure(folder)
    results = ImageResults.load(folder.path / "images.npz")
    assert folder.read("measured")["images"] == len(results.images) == 4
    assert all(name.startswith("images/test/") for name in results.images)


def test_task_makes_another_run_and_needs_the_split(command, tiny_set) -> None:
    request = parse_compare_args(command)
    val = expand(request.axes, request.shared)
    with pytest.raises(ValueError, match="has no `test:` entry"):
        expand(request.axes, request.shared, "test")
    content = yaml.safe_load((tiny_set / "set.yaml").read_text()) | {"test": "images/val"}
    (tiny_set / "three.yaml").write_text(yaml.safe_dump(content))
    request = parse_compare_args([*command, "--data", str(tiny_set / "three.yaml"), "--task", "test"])
    test = expand(request.axes, request.shared, request.task)
    assert {one.group for one in test}.isdisjoint(one.group for one in val)
    assert {one.task for one in test} == {"test"}


def test_a_setting_that_comes_later_leaves_digests_alone(planned, monkeypatch) -> None:
    @dataclass(frozen=True)
    class Later(TrainConfig):
        later: str = "off"

    before = planned()
    monkeypatch.setattr(expand_plan, "TrainConfig", Later)
    assert [one.key for one in planned()] == [one.key for one in before]
    on = lambda **values: Later(**values, later="on") if "seed" in values else Later(**values)  # noqa: E731
    monkeypatch.setattr(expand_plan, "TrainConfig", on)
    assert not {one.key for one in planned()} & {one.key for one in before}


def test_as_many_runs_as_cores_and_memory_allow(planned, monkeypatch) -> None:
    plans, cpu = planned(), torch.device("cpu")
    monkeypatch.setattr(time_estimate, "usable_cores", lambda: 3)
    monkeypatch.setattr(time_estimate, "free_memory", lambda: 1 << 40)
    assert runs_at_once(plans, cpu) == 3
    assert runs_at_once(plans[:1], cpu) == 1
    assert runs_at_once(plans, torch.device("cuda:0")) == 1
    monkeypatch.setattr(time_estimate, "free_memory", lambda: int(2.5e9))
    assert runs_at_once(plans, cpu) == 2
    large = [replace(one, train={**one.train, "imgsz": 1280, "batch_size": 64}) for one in plans]
    assert runs_at_once(large, cpu) == 1


def test_a_run_has_one_thread(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    words = ["python", "-c", "import os; print(os.environ['OMP_NUM_THREADS'])"]
    assert run_process(words, tmp_path / "log.txt") == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert run_process(words, tmp_path / "log.txt") == 0
    assert (tmp_path / "log.txt").read_text().split() == ["1", "5"]
