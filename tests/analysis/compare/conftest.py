"""A finished comparison without any training: what runs leave behind, written by hand from simulated detections."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from analysis.compare.execute.run_folder import RunFolder
from analysis.compare.judge.image_bootstrap import mean_ap, resampled_ap
from analysis.compare.plan.command_line import parse_compare_args
from analysis.compare.plan.expand_plan import RunPlan, expand
from engine.training.results_csv import ResultsFile
from engine.validation.error_types import COSTS
from engine.validation.prediction_files import COCO_FIGURES
from models.insertion.layer_list import layer_list
from models.model_yaml import load_spec
from tests.support.simulated_runs import simulated_run, simulated_scenes

SKILL = {"none": 0.5, "SE": 0.5, "CBAM": 2.0}


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of bright rectangles on noise and a very small model beside it."""
    folder = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 4)):
        for kind in ("images", "labels"):
            (folder / "set" / kind / split).mkdir(parents=True)
        for i in range(count):
            image = rng.integers(0, 80, (48, 64, 3), dtype=np.uint8)
            image[10:34, 20:44] = (0, 0, 255)
            cv2.imwrite(str(folder / "set" / "images" / split / f"{i}.png"), image)
            (folder / "set" / "labels" / split / f"{i}.txt").write_text(f"{i % 2} 0.5 0.4583 0.375 0.5\n")
    names = {"path": str(folder / "set"), "train": "images/train", "val": "images/val", "names": ["even", "odd"]}
    (folder / "set.yaml").write_text(yaml.safe_dump(names))
    model = yaml.safe_load((Path(__file__).resolve().parents[3] / "models" / "yolov5n.yaml").read_text())
    (folder / "nano.yaml").write_text(yaml.safe_dump({**model, "width_multiple": 0.125}, default_flow_style=None))
    return folder


@pytest.fixture
def command(tiny_set: Path, tmp_path: Path) -> list[str]:
    """A command line of two configurations with two seeds; flags that come later win."""
    where = ["--cfg", str(tiny_set / "nano.yaml"), "--data", str(tiny_set / "set.yaml"), "--project", str(tmp_path)]
    small = "--attention none SE --seeds 2 --epochs 2 --batch 2 --img 64 --workers 0 --device cpu --precision 32"
    return [*where, *small.split()]


@pytest.fixture
def planned(command: list[str]) -> Callable[..., list[RunPlan]]:
    """The runs of that command line with more words."""

    def plan(*words: str) -> list[RunPlan]:
        request = parse_compare_args([*command, *words])
        return expand(request.axes, request.shared)

    return plan


@pytest.fixture
def comparison(planned: Callable[..., list[RunPlan]], tmp_path: Path) -> Path:
    """Three configurations with three seeds, all finished; CBAM is much better, SE is equal."""
    rng = np.random.default_rng(0)
    scenes = simulated_scenes(rng, 40)
    for plan in planned("--attention", "none", "SE", "CBAM", "--seeds", "3"):
        folder = RunFolder(tmp_path / "exp" / "runs" / plan.folder_name)
        folder.write("run", plan.to_dict())
        write_run(folder, simulated_run(rng, scenes, skill=SKILL[plan.module], seed_sd=0.05))
    return tmp_path / "exp"


def write_run(folder: RunFolder, results) -> None:
    """What training and measuring leave."""
    results.save(folder.path / "images.npz")
    ap = resampled_ap(results, np.ones((1, len(results.images)), np.int32))
    value = float(mean_ap(ap)[0])
    coco = dict.fromkeys(COCO_FIGURES, value) | {"AP_small": -1.0}
    figures = {"precision": 0.5, "recall": 0.6, "map50": value, "map50_95": value, "images": 40, "instances": 100}
    more = {"coco": coco, "parameters": 1000, "macs": 5_000_000, "device": "cpu"}
    more["errors"] = {"dap": dict.fromkeys(COSTS, 0.01 * (1 + folder.plan.seed))}
    more["machine"] = {"hardware": "a <fast> processor", "versions": "torch 9", "commit": "abc1234567"}
    folder.write("measured", {**figures, **more})
    folder.write("sessions", [40.0, 25.0])
    (folder.path / "model.yaml").write_text(layer_list(load_spec(folder.plan.train["cfg"])))
    for epoch in range(3):
        ResultsFile(folder.path / "results.csv").append(epoch, {"metrics/mAP_0.5:0.95": value * (epoch + 1) / 3})
    (folder.path / "seen").mkdir(exist_ok=True)
    for name in ("0", "0-truth"):
        cv2.imwrite(str(folder.path / "seen" / f"{name}.jpg"), np.full((30, 40, 3), 90, np.uint8))
