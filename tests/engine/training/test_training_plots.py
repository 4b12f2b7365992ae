"""Axis names, legends and sizes of the pictures of a training run."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from data.hyp import Hyperparameters, load_hyp
from data.images import read_image
from engine.evolution.evolve_report import Outcome, write_report
from engine.training.training_plots import RESULT_PANELS, plot_correlogram, plot_labels, plot_results


def test_labels_have_units_titles_and_names_in_any_script(saved, tmp_path):
    labels = np.array([[0, 0.5, 0.5, 0.02, 0.03], [1, 0.2, 0.3, 0.4, 0.5]])
    plot_labels(labels, {0: "stop", 1: "戴口罩"}, tmp_path / "labels.jpg")
    axes = saved[0].axes
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["stop", "戴口罩"]
    assert all(axis.get_title() for axis in axes[:4])
    assert "share of the width" in axes[2].get_xlabel()
    assert axes[2].yaxis_inverted()
    # a single box is dark on white, not pale
    image = read_image(tmp_path / "labels.jpg")
    lower = image[image.shape[0] // 2 :].min(2)
    assert (lower < 120).sum() > 300


def test_every_pair_of_the_correlogram_has_names(saved, tmp_path):
    plot_correlogram(np.random.default_rng(0).random((50, 5)), tmp_path / "c.jpg")
    shown = [axis for axis in saved[0].axes if axis.axison]
    assert len(shown) == 10
    assert all(axis.get_xlabel() and axis.get_ylabel() for axis in shown)


@pytest.mark.parametrize(("epochs", "lines"), [(3, ["each epoch"]), (30, ["each epoch", "smoothed"])])
def test_results_have_names_and_one_legend_for_all(saved, tmp_path, epochs, lines):
    """A run of a few epochs has no smoothed line, which would be flat."""
    columns = [name for panel in RESULT_PANELS for name in panel]
    rows = [{"epoch": epoch, **dict.fromkeys(columns, 1 / (1 + epoch))} for epoch in range(epochs)]
    plot_results(SimpleNamespace(rows=lambda: rows), tmp_path / "results.png")
    (figure,) = saved
    assert [axis.get_title() for axis in figure.axes] == columns
    assert {axis.get_xlabel() for axis in figure.axes} == {"epoch"}
    assert [axis.get_ylabel() for axis in figure.axes[::5]] == ["loss", "loss"]
    assert figure.axes[4].get_ylabel() == "share, 0 to 1"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == lines
    assert all(len(axis.get_lines()) == len(lines) for axis in figure.axes)
    assert figure.get_suptitle()
    assert_ticks_apart(figure)


def test_trials_have_names_a_legend_and_ticks_that_can_be_read(saved, tmp_path):
    """Values that need many digits, as a search has them."""
    names = ["lr0", "weight_decay", "obj_pw"]
    hyp = load_hyp("hyp.scratch-low.yaml").to_dict()
    outcomes = [
        Outcome(n, Hyperparameters(**{**hyp, **dict.fromkeys(names, 0.000123 * (n + 7))}), 0.1 * n, {})
        for n in range(4)
    ]
    write_report(outcomes, names, tmp_path)
    (figure,) = saved
    shown = [axis for axis in figure.axes if axis.axison and axis.get_xlabel()]
    assert [axis.get_xlabel() for axis in shown] == names
    assert [axis.get_title() for axis in shown] == [f"{name} = 0.00123 in the best" for name in names]
    assert {axis.get_ylabel() for axis in shown} == {"fitness"}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a trial", "the best"]
    assert "Fitness" in figure.get_suptitle()
    assert_ticks_apart(figure)


def assert_ticks_apart(figure):
    """No number on an axis touches the next."""
    for axis in figure.axes:
        low, high = axis.get_xlim()
        ticks = [one.label1 for one in axis.xaxis.get_major_ticks() if low <= one.get_loc() <= high]
        boxes = [text.get_window_extent() for text in ticks if text.get_text()]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
