"""The matrix: what is in it, in which order, and what counts as the same run."""

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from analysis.compare.plan.command_line import parse_compare_args
from analysis.compare.plan.data_fingerprint import data_digest
from analysis.compare.plan.expand_plan import RunPlan, expand
from data.dataset.dataset_yaml import load_dataset_spec


def test_seed_by_seed_and_each_once(planned) -> None:
    runs = planned("--attention", "none", "SE", "CBAM", "--start", "paper", "identity", "--at", "neck.P3", "neck.P4")
    half = len(runs) // 2
    assert [run.seed for run in runs] == [0] * half + [1] * half
    assert [run.config for run in runs[:half]] == [run.config for run in runs[half:]]
    assert half == 1 + 2 * 2 * 2  # the baseline has neither place nor start
    assert len({run.key for run in runs}) == len(runs)
    assert len({run.folder_name for run in runs}) == len(runs)
    assert len({run.group for run in runs}) == 1


def test_each_place_in_turn(planned) -> None:
    runs = planned("--attention", "SE", "--at", "each", "--seeds", "1")
    assert [run.at for run in runs][-3:] == ["neck.P3", "neck.P4", "neck.P5"]
    assert "backbone.sppf" in {run.at for run in runs}


def test_requests_with_their_own_options_and_places(planned, tmp_path) -> None:
    (tmp_path / "plan.yaml").write_text("options: {SE: [{reduction: 8}, {reduction: 16}]}\n")
    words = ["--plan", str(tmp_path / "plan.yaml"), "--seeds", "1"]
    runs = planned("--attention", "SE", "CBAM(kernel_size=3)@neck.P5", "SEAttention", *words)
    assert [run.label for run in runs] == [
        "SE(reduction=8) @ neck, identity",
        "SE(reduction=16) @ neck, identity",
        "CBAM(kernel_size=3) @ neck.P5, identity",
        "SE @ neck, identity",  # by its other name, with the module's own options
    ]


def test_what_has_no_effect_does_not_make_a_new_run(planned) -> None:
    before = {run.key for run in planned()}
    assert {run.key for run in planned("--workers", "2", "--cache", "--name", "other")} == before
    assert {run.key for run in planned("--seeds", "3")} > before
    for words in (["--epochs", "3"], ["--batch", "4"], ["--img", "96"], ["--hyp", "hyp.no-mirror.yaml"], ["--cos-lr"]):
        assert not {run.key for run in planned(*words)} & before


def test_files_count_by_content(planned, tiny_set) -> None:
    before = {run.key for run in planned()}
    copy = tiny_set / "copy.yaml"
    copy.write_text((tiny_set / "nano.yaml").read_text())
    assert {run.key for run in planned("--cfg", str(copy))} == before
    changed = tiny_set / "changed.yaml"
    changed.write_text(copy.read_text().replace("width_multiple: 0.125", "width_multiple: 0.25"))
    assert not {run.key for run in planned("--cfg", str(changed))} & before


def digest_in(folder: Path) -> str:
    return data_digest(load_dataset_spec(folder / "set.yaml"))


@pytest.fixture
def own_set(tiny_set, tmp_path) -> Path:
    """A copy of the data set, free to be changed; its YAML lies inside."""
    shutil.copytree(tiny_set / "set", tmp_path / "own")
    content = yaml.safe_load((tiny_set / "set.yaml").read_text()) | {"path": "."}
    (tmp_path / "own" / "set.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "own"


def test_data_count_by_content_wherever_they_lie(own_set, tmp_path, tiny_set) -> None:
    before = digest_in(own_set)
    assert before == data_digest(load_dataset_spec(tiny_set / "set.yaml"))
    shutil.copytree(own_set, tmp_path / "moved", copy_function=shutil.copyfile)  # with times of its own
    assert digest_in(tmp_path / "moved") == before
    (own_set / "labels" / "val.labels.npz").write_bytes(b"a cache")
    os.utime(own_set / "images" / "val" / "0.png")
    assert digest_in(own_set) == before


@pytest.mark.parametrize("change", ["label", "no label", "image", "name", "other split"])
def test_every_change_of_the_data_is_noticed(own_set, change) -> None:
    before = digest_in(own_set)
    label, image = own_set / "labels" / "train" / "3.txt", own_set / "images" / "train" / "3.png"
    if change == "label":
        label.write_text(label.read_text().replace("0.375", "0.376"))
    elif change == "no label":
        label.unlink()
    elif change == "image":
        image.write_bytes(image.read_bytes() + b"\0")
    elif change == "name":
        image.rename(image.with_name("4b.png"))
        label.rename(label.with_name("4b.txt"))
    else:
        for file in (image, label):
            file.rename(file.parent.parent / "val" / f"3b{file.suffix}")
    assert digest_in(own_set) != before


def test_runs_from_before_data_were_recorded_keep_their_digests(planned) -> None:
    """The data's digest is beside the others, and a description without it is read."""
    run = planned()[0]
    old = run.to_dict()
    del old["data_digest"]
    older = RunPlan.from_dict(old, "run.json")
    assert (older.key, older.config, older.group) == (run.key, run.config, run.group)
    assert older.folder_name.endswith(run.key[:10])
    assert older.folder_name != run.folder_name
    assert older.same_run(run)
    assert not run.same_run(replace(run, data_digest="other"))


def test_digests_stay_what_they_are(tmp_path) -> None:
    """Runs are found again by them, also by those who have committed theirs.

    Where this fails for a new setting, leave it out of the digests while it has its default.
    """
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            (tmp_path / kind / split).mkdir(parents=True)
            (tmp_path / kind / split / ("0.png" if kind == "images" else "0.txt")).write_text("")
    (tmp_path / "pinned.yaml").write_text("{path: ., train: images/train, val: images/val, names: [one, two]}")
    words = "--cfg yolov5n.yaml --attention none CBAM --at neck.P3 --seeds 1 --epochs 3 --batch 4 --img 64"
    request = parse_compare_args([*words.split(), "--data", str(tmp_path / "pinned.yaml")])
    runs = expand(request.axes, request.shared)
    assert [(run.key, run.config, run.group, run.data_digest) for run in runs] == [
        ("cb5f52670cad5f40", "87f61df1ba91540d", "79441bcd332a5a07", "6af2c6a1dd1d782b"),
        ("048dc2f138d29d6c", "5a7b57bcff04768d", "79441bcd332a5a07", "6af2c6a1dd1d782b"),
    ]


def test_groups_share_all_but_attention_and_seed(planned, tiny_set) -> None:
    runs = planned("--img", "64", "96", "--seeds", "1")
    assert Counter(run.group for run in runs).most_common()[0][1] == 2
    assert len({run.group for run in runs}) == 2


def test_round_trip(planned) -> None:
    run = planned()[1]
    assert RunPlan.from_dict(run.to_dict(), "run.json") == run
    with pytest.raises(ValueError, match=r"run\.json: is not the description"):
        RunPlan.from_dict({"key": ""}, "run.json")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--attention", "none", "SEE"], "SEE"),
        (["--attention", "SE(foo=1)"], "SE has no option 'foo'"),
        (["--at", "neck.P9"], r"no place 'neck\.P9'; it has backbone\.P1"),
        (["--at", "each,neck.P3"], "expected `each` alone"),
        (["--data", "sings.yaml"], "nearest: .*signs.yaml"),
        (["--epochs", "0"], "--epochs 0: expected at least 1"),
        (["--freeze", "foo"], "--freeze foo"),
        (["--freeze", "!attention"], "--freeze !attention: nothing is left to train"),  # in the baseline
    ],
)
def test_mistakes_are_told_before_anything_runs(planned, words, message) -> None:
    with pytest.raises(ValueError, match=message):
        planned(*words)
