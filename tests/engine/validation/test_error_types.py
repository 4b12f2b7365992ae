"""One constructed image for each kind of mistake, and what it costs, reckoned by hand."""

import json

import numpy as np
import pytest

from engine.config.val_config import parse_config
from engine.validation.error_report import error_table, errors_dict, save_error_plot
from engine.validation.error_types import COSTS, KINDS, error_costs, judge_image

BOX, FAR = (0.0, 0, 100, 100), (500.0, 500, 600, 600)
LOW = 25.5 / 101  # AP of precision 1/2 up to recall 1/2
HALF_OFF = (0.0, 0, 100, 30)  # IoU 0.3 with BOX
NAMES = {0: "stop", 1: "<yield>"}
# what the detections (box, confidence, class) and labels (class, box) of an image are, and the kind of each detection
IMAGES = {
    "right": ([(BOX, 0.9, 0)], [(0, BOX)], [None]),
    "classification": ([(BOX, 0.9, 1)], [(0, BOX)], ["classification"]),
    "localisation": ([(HALF_OFF, 0.9, 0)], [(0, BOX)], ["localisation"]),
    "both": ([(HALF_OFF, 0.9, 1)], [(0, BOX)], ["both"]),
    "duplicate": ([(BOX, 0.9, 0), ((0, 0, 100, 90), 0.8, 0)], [(0, BOX)], [None, "duplicate"]),
    "background": ([(FAR, 0.9, 0)], [(0, BOX)], ["background"]),
    "missed": ([], [(0, BOX)], []),
    "no labels": ([(BOX, 0.9, 0)], [], ["background"]),
    "the next best label": ([(BOX, 0.9, 0), (BOX, 0.8, 0)], [(0, BOX), (0, (0, 0, 100, 80))], [None, None]),
}


def judged(detections, labels):
    found = np.array([[*box, score, c] for box, score, c in detections], np.float32).reshape(-1, 6)
    return judge_image(found, np.array([[c, *box] for c, box in labels], np.float32).reshape(-1, 5))


@pytest.mark.parametrize("name", IMAGES)
def test_every_kind_is_told(name) -> None:
    detections, labels, kinds = IMAGES[name]
    image = judged(detections, labels)
    assert [None if k < 0 else KINDS[k] for k in image.kind] == kinds
    assert image.missed.tolist() == [name in ("missed", "both", "background")] * len(labels)


# Two labels of class 0 in two images; the first is found with confidence 0.5 (AP50 = 51 of 101 points) unless it says
# otherwise. With the second repaired AP is 1.
@pytest.mark.parametrize(
    ("wrong", "gains"),
    [
        ([(BOX, 0.9, 1)], {"classification": 50 / 101, "false_negatives": 50 / 101}),
        # A false one above: precision 1/2 up to recall 1/2; mended, both are right.
        ([(HALF_OFF, 0.9, 0)], {"localisation": 1 - LOW, "false_positives": LOW, "false_negatives": 0.5 - LOW}),
        ([(HALF_OFF, 0.9, 1)], {"missed": 50 / 101, "false_negatives": 50 / 101}),
        (
            [(FAR, 0.9, 0)],
            {"background": LOW, "missed": 0.5 - LOW, "false_positives": LOW, "false_negatives": 0.5 - LOW},
        ),
        ([], {"missed": 50 / 101, "false_negatives": 50 / 101}),
    ],
)
def test_what_it_costs_by_hand(wrong, gains) -> None:
    costs = error_costs([judged([(BOX, 0.5, 0)], [(0, BOX)]), judged(wrong, [(0, BOX)])], 2)
    above = any(c == 0 for _, _, c in wrong)
    assert costs.all.ap50 == pytest.approx((25.5 if above else 51) / 101)
    assert costs.all.gain == pytest.approx({name: gains.get(name, 0) for name in COSTS})
    assert list(costs.per_class) == [0]  # class 1 has no label


def test_a_duplicate_costs_what_it_pushes_down() -> None:
    """Right at 0.9, its duplicate at 0.8, another label right at 0.7: precision 2/3 beyond half the recall."""
    images = [judged([(BOX, 0.9, 0), (BOX, 0.8, 0)], [(0, BOX)]), judged([(BOX, 0.7, 0)], [(0, BOX)])]
    costs = error_costs(images, 1)
    assert costs.all.gain["duplicate"] == pytest.approx(50 / 101 / 3)
    assert costs.all.count == {name: int(name == "duplicate") for name in KINDS}


def test_one_label_is_mended_once_and_by_the_most_confident() -> None:
    """A wrong class at 0.9 and a wrong place at 0.8 on one label: the first may repair it, the second only goes."""
    image = judged([(BOX, 0.9, 1), (HALF_OFF, 0.8, 0)], [(0, BOX)])
    assert [KINDS[k] for k in image.kind] == ["classification", "localisation"]
    assert image.mended.tolist() == [0, -1]
    assert not image.missed.any()


def test_sizes_are_those_of_the_label_that_is_meant() -> None:
    small, large = (0.0, 0, 20, 20), (200.0, 200, 400, 400)
    off = (0.0, 0, 20, 60)  # larger than small, but meant for it
    images = [judged([(off, 0.9, 0), (large, 0.8, 0)], [(0, small), (0, large)])]
    costs = error_costs(images, 1)
    assert list(costs.per_size) == ["small", "large"]
    assert costs.per_size["small"].gain["localisation"] == pytest.approx(1)
    assert costs.per_size["small"].instances == 1
    assert costs.per_size["large"].ap50 == pytest.approx(1)
    assert max(costs.per_size["large"].gain.values()) == 0


def test_nothing_at_all_and_the_reports(tmp_path) -> None:
    costs = error_costs([], 2)
    assert (costs.all.ap50, costs.per_class, costs.per_size) == (0, {}, {})
    save_error_plot(costs, NAMES, tmp_path / "empty.png")
    costs = error_costs([judged(*IMAGES["missed"][:2]), judged(*IMAGES["right"][:2])], 2)
    rows = error_table(costs, NAMES).splitlines()
    assert rows[1].split() == ["Class", "Instances", "AP50", "Cls", "Loc", "Both", "Dupe", "Bkg", "Miss", "FP", "FN"]
    assert rows[2].split() == ["all", "2", "0.505", *["0.000"] * 5, "0.495", "0.000", "0.495"]
    assert "stop" not in error_table(costs, NAMES, per_class=False)
    plain = json.loads(json.dumps(errors_dict(costs, NAMES)))
    assert plain["dap"]["missed"] == pytest.approx(50 / 101)
    assert plain["per_class"][0]["count"]["missed"] == 1
    save_error_plot(costs, NAMES, tmp_path / "errors.png")
    assert (tmp_path / "errors.png").stat().st_size > 10_000


def test_errors_are_ignored_where_only_the_speed_is_wanted(capsys) -> None:
    assert not parse_config(["--task", "speed", "--errors"]).errors
    assert "note: --errors is ignored: --task speed has the threshold of detect.py" in capsys.readouterr().err
    assert parse_config(["--errors"]).errors
