"""Measuring a trained model, and guessing how long training takes."""

import shutil

import numpy as np
import pytest

from analysis.compare.execute.image_results import ImageResults
from analysis.compare.execute.measure import SHOWN_IMAGES, Pictures, measure
from analysis.compare.execute.run_folder import FINISHED, RunFolder
from analysis.compare.execute.time_estimate import estimate_seconds
from analysis.compare.judge.image_bootstrap import mean_ap, resampled_ap
from analysis.compare.judge.latency import known, measure_latency
from data.images import read_image
from models.insertion.layer_list import layer_list
from models.model_yaml import load_spec


def test_figures_agree_with_the_data_kept_for_the_statistics(planned, tmp_path, root) -> None:
    """The shipped model on the small signs set: mAP from `images.npz` is the mAP of the evaluation."""
    weights = root / "weights" / "yolov5n_ca_signs.pt"
    plan = planned("--data", "signs_tiny.yaml", "--img", "320", "--weights", str(weights), "--attention", "none")[0]
    folder = RunFolder(tmp_path / plan.folder_name)
    folder.write("run", plan.to_dict())
    folder.best.parent.mkdir()
    shutil.copy(weights, folder.path / "weights" / "best.pt")
    measure(folder)
    assert folder.state == FINISHED
    figures = folder.read("measured")
    results = ImageResults.load(folder.path / "images.npz")
    ap = resampled_ap(results, np.ones((1, len(results.images)), np.int32))
    assert figures["map50_95"] > 0.1
    assert mean_ap(ap)[0] == pytest.approx(figures["map50_95"], abs=1e-9)
    assert np.nanmean(ap[0, :, 0]) == pytest.approx(figures["map50"], abs=1e-9)
    assert results.images[0].startswith("images/val/")
    assert results.truth.sum() == figures["instances"]
    assert len(figures["coco"]) == 12
    assert figures["coco"]["AP50"] > 0.1
    pictures = sorted((folder.path / "seen").glob("*.jpg"))
    assert sum("-" not in one.stem for one in pictures) == SHOWN_IMAGES
    assert {one.stem for one in pictures} >= {"0", "0-truth", "0-cam"}
    assert read_image(folder.path / "seen" / "0.jpg").shape[1] == 400


def test_the_images_of_a_comparison_are_drawn_by_a_fixed_seed(tmp_path) -> None:
    """The same of every run, in whatever order it meets them; not those at the ends of the list."""
    paths = [f"images/{number:03d}.jpg" for number in range(100)]
    first = Pictures(tmp_path / "a", {}, paths).wanted
    assert Pictures(tmp_path / "b", {}, paths[::-1]).wanted == first
    assert list(first.values()) == ["0", "1", "2", "3"]
    assert list(first) == sorted(first)
    assert not {paths[0], paths[-1]} & set(first)
    assert list(Pictures(tmp_path / "c", {}, paths[:2], prefix="p").wanted.items()) == [
        (paths[0], "p0"),
        (paths[1], "p1"),
    ]


def test_latency_is_timed_for_every_configuration(planned, tmp_path) -> None:
    plans = planned("--seeds", "1")
    for plan in plans:
        folder = RunFolder(tmp_path / "exp" / "runs" / plan.folder_name)
        folder.write("run", plan.to_dict())
        folder.write("measured", {})
        (folder.path / "model.yaml").write_text(layer_list(load_spec(plan.train["cfg"])))
    assert known(tmp_path / "exp") == {}
    measure_latency(tmp_path / "exp", rounds=4)
    times = known(tmp_path / "exp")
    assert set(times) == {plan.config for plan in plans}
    assert all(0 < one["low"] <= one["ms"] <= one["high"] for one in times.values())


def test_estimate_of_each_configuration(planned) -> None:
    plans = planned("--seeds", "2", "--workers", "2")
    seconds = estimate_seconds(plans)
    assert set(seconds) == {plan.config for plan in plans}
    assert all(15 < value < 600 for value in seconds.values())
