"""Weights of images and classes, by hand, and that the ones of an epoch follow from the validation before it."""

from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from engine.training.class_balance import average_precisions, class_weights, image_weights
from engine.training.run_record import Run
from engine.training.run_training import train
from models.weights.checkpoint import read_checkpoint
from tests.support.tiny_runs import assert_same_weights, make_config

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:lightning"),
]


def rows(*classes: int) -> np.ndarray:
    return np.array([[number, 0.5, 0.5, 0.1, 0.1] for number in classes], np.float32).reshape(-1, 5)


LABELS = [rows(0), rows(0, 0), rows(0, 1), rows()]  # class 0 four times, class 1 once


def test_image_weights_by_hand():
    plain = image_weights(LABELS, 2, [])
    np.testing.assert_allclose(plain, np.array([1 / 4, 2 / 4, 1 / 4 + 1, 0]) / 2)
    learned = image_weights(LABELS, 2, [0.5, 0.9])  # (1 - 0.5)² = 0.25 and (1 - 0.9)² = 0.01
    wanted = np.array([0.25 / 4, 2 * 0.25 / 4, 0.25 / 4 + 0.01, 0])
    np.testing.assert_allclose(learned, wanted / wanted.sum())
    np.testing.assert_allclose(image_weights(LABELS, 2, [1.0, 1.0]), plain)  # nothing left to learn
    assert image_weights(LABELS, 3, [0.2, 0.2, 0.0]).sum() == pytest.approx(1)  # a class without labels


def test_class_weights_by_hand():
    np.testing.assert_allclose(class_weights(LABELS, 2, 1.0), [5 / (2 * 4), 5 / 2])
    np.testing.assert_allclose(class_weights(LABELS, 2, 0.5) / class_weights(LABELS, 2, 0.5)[0], [1, 2])
    for power in (0.0, 0.5, 1.0):
        assert (class_weights(LABELS, 3, power) * [4, 1, 0]).sum() == pytest.approx(5)
    with pytest.raises(ValueError, match="--class-weights: the data set has one class, so there is no class loss"):
        class_weights(LABELS, 1, 1.0)


def test_a_class_without_instances_has_the_mean_of_the_others():
    result = SimpleNamespace(
        per_class=(SimpleNamespace(class_id=2, map50_95=0.4),), map50_95=0.4, names={0: "a", 1: "b", 2: "c"}
    )
    assert average_precisions(result) == [0.4, 0.4, 0.4]
    result.per_class = (SimpleNamespace(class_id=0, map50_95=0.6), SimpleNamespace(class_id=2, map50_95=0.2))
    assert average_precisions(result) == [0.6, 0.4, 0.2]


def test_the_next_epoch_draws_the_class_that_is_detected_badly(workshop, tmp_path, monkeypatch):
    """The tiny set has the classes in turn, 0 in the even images; the validation here knows class 0 perfectly."""
    drawn: list[str] = []

    def validate(run: Run, model: object, **options: object) -> SimpleNamespace:
        drawn.extend(run.train.dataset.paths[item[1]] for item in run.train.sampler if not options.get("plots"))
        classes = tuple(SimpleNamespace(class_id=number, map50_95=1.0 - number) for number in (0, 1))
        figures = {"precision": 0.0, "recall": 0.0, "map50": 0.0, "map50_95": 0.5, "fitness": 0.5}
        return SimpleNamespace(**figures, per_class=classes, names=run.names, loss=None, table=lambda: "")

    monkeypatch.setattr(Run, "validate", validate)
    folder = train(make_config(workshop, tmp_path, image_weights=True)).folder
    first, second = drawn[:6], drawn[6:12]
    assert {int(path[-5]) % 2 for path in first} == {0, 1}
    assert {int(path[-5]) % 2 for path in second} == {1}
    assert read_checkpoint(folder / "weights" / "last.pt").training["class_ap"] == [1.0, 0.0]


def test_class_weights_reach_the_training(configure, workshop, tmp_path, capsys):
    content = yaml.safe_load((workshop / "set.yaml").read_text())
    rare = tmp_path / "rare.txt"
    rare.write_text("".join(f"{workshop}/set/images/train/{number}.png\n" for number in (0, 1, 2, 4)))
    (tmp_path / "set.yaml").write_text(yaml.safe_dump({**content, "train": str(rare)}))
    changes = {"data": str(tmp_path / "set.yaml"), "epochs": 1, "noval": True}
    plain, weighed = (train(configure(**changes, class_weights=power)).folder for power in (0.0, 1.0))
    assert "Class weights: even 0.667, odd 2\n" in capsys.readouterr().out
    with pytest.raises(AssertionError):
        assert_same_weights(plain / "weights" / "last.pt", weighed / "weights" / "last.pt")


def test_a_data_set_of_one_class_has_no_class_loss_to_weigh(configure):
    with pytest.raises(ValueError, match="--class-weights: the data set has one class"):
        train(configure(class_weights=1.0, single_cls=True))
