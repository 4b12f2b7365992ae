"""Axis names, legends and sizes of the pictures of a training run."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from data.images import read_image
from engine.training.training_plots import plot_correlogram, plot_labels


@pytest.fixture
def saved(monkeypatch):
    """The figures that are saved."""
    figures = []
    save = Figure.savefig

    def keep(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


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
