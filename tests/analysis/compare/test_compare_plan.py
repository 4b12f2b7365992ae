"""The matrix: what is in it, in which order, and what counts as the same run."""

from collections import Counter

import pytest

from analysis.compare.plan import RunPlan


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
        (["--data", "sings.yaml"], "nearest there: .*signs.yaml"),
        (["--epochs", "0"], "--epochs 0: expected at least 1"),
    ],
)
def test_mistakes_are_told_before_anything_runs(planned, words, message) -> None:
    with pytest.raises(ValueError, match=message):
        planned(*words)
