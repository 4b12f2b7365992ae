"""Labels that a model doubts: on detections written by hand, and on those of the weights that come with the project."""

import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.doctor.checks import look as look_checks
from analysis.doctor.checks import suspects
from analysis.doctor.detect import open_eye
from analysis.doctor.evidence import Detected, Evidence
from analysis.doctor.finding import Finding
from analysis.doctor.run_doctor import Request, diagnose, main
from analysis.doctor.suspects_file import suspects_json
from benchmarks.studies.planted_faults import Fault, set_text
from benchmarks.studies.planted_in_sets import SUSPECTED

NOTHING = Detected(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


def detected(*rows: tuple[float, ...]) -> Detected:
    """Rows of x1, y1, x2, y2, confidence, class."""
    table = np.array(rows, float).reshape(-1, 6)
    return Detected(table[:, :4], table[:, 4], table[:, 5].astype(int))


@pytest.fixture
def evidence(planted: Path, look) -> Evidence:
    """Label rows 0.4 to 0.6 of class 1 and 0.1 to 0.2 of class 0 on the first image, and none on the others."""
    for image in (planted / "images").rglob("*.jpg"):
        set_text(image, "")
    set_text(min((planted / "images/train").iterdir()), "1 0.5 0.5 0.2 0.2\n0 0.15 0.15 0.1 0.1\n")
    return look(planted, pixels=False).evidence


def seen_by(evidence: Evidence, *rows: tuple[float, ...]) -> Evidence:
    nothing = {split.name: [NOTHING] * len(split.images) for split in evidence.splits}
    return replace(evidence, detected={**nothing, "train": [detected(*rows), *nothing["train"][1:]]})


RIGHT = ((0.4, 0.4, 0.6, 0.6, 0.9, 1), (0.1, 0.1, 0.2, 0.2, 0.8, 0))


def test_a_model_that_agrees_raises_no_suspicion(evidence: Evidence) -> None:
    assert [check.look(seen_by(evidence, *RIGHT)).count for check in suspects.SUSPECTS] == [0, 0, 0]
    assert [check.look(evidence).count for check in suspects.SUSPECTS] == [0, 0, 0]  # no model was asked


def test_detections_on_no_label(evidence: Evidence) -> None:
    there, again = (0.7, 0.7, 0.9, 0.9, 0.95, 2), (0.71, 0.7, 0.9, 0.9, 0.7, 3)
    unsure = (0.7, 0.1, 0.9, 0.3, 0.5, 2)
    found = suspects.missing_label.look(seen_by(evidence, there, *RIGHT, again, unsure))
    assert [case.text for case in found.cases] == ["arr_l 0.95, no label here"]
    assert found.cases[0].marks[0].box_cxcywh_norm == pytest.approx((0.8, 0.8, 0.2, 0.2))


def test_a_label_of_another_class(evidence: Evidence) -> None:
    other = (0.4, 0.41, 0.6, 0.6, 0.9, 3)
    found = suspects.wrong_class.look(seen_by(evidence, other, RIGHT[1]))
    assert [case.text for case in found.cases] == ["labelled arr_s, looks like no_driving_mark_allsort 0.90"]
    agreed = (0.4, 0.4, 0.6, 0.6, 0.8, 1)
    assert suspects.wrong_class.look(seen_by(evidence, other, agreed, RIGHT[1])).count == 0
    assert suspects.missing_label.look(seen_by(evidence, other, RIGHT[1])).count == 0


def test_labels_on_nothing_unless_the_model_misses_many(evidence: Evidence) -> None:
    assert suspects.nothing_there.look(seen_by(evidence, RIGHT[0])).count == 0  # half are missed
    rows = "".join(f"1 {0.05 + 0.09 * i:.2f} 0.8 0.08 0.1\n" for i in range(10))
    seen = [(0.01 + 0.09 * i, 0.75, 0.09 + 0.09 * i, 0.85, 0.5, 4) for i in range(9)]
    set_text(Path(evidence.splits[0].images[0]), rows)
    again = diagnose(Request(str(evidence.dataset.file), pixels=False, progress=False)).evidence
    found = suspects.nothing_there.look(seen_by(again, *seen))
    assert [case.marks[0].box_cxcywh_norm[0] for case in found.cases] == [pytest.approx(0.86)]
    assert found.text == "1 of 10 labels of 16 px or more."


def test_the_list_for_the_labelling_tool(evidence: Evidence) -> None:
    check = suspects.missing_label
    seen = seen_by(evidence, (0.7, 0.6, 0.9, 0.8, 0.95, 2), *RIGHT)
    (task,) = json.loads(suspects_json(seen, [Finding(check, check.look(seen))]))
    assert task["data"]["image"] == "/data/local-files/?d=images/train/000000.jpg"
    labels, (doubt,) = task["annotations"][0]["result"], task["predictions"][0]["result"]
    assert [one["value"]["rectanglelabels"] for one in labels] == [["arr_s"], ["red_tl"]]
    value = {"x": 70, "y": 60, "width": 20, "height": 20, "rotation": 0}
    assert {name: doubt["value"][name] for name in value} == pytest.approx(value)
    assert (doubt["original_width"], doubt["original_height"]) == (640, 360)
    assert (doubt["from_name"], doubt["to_name"], doubt["type"]) == ("label", "image", "rectanglelabels")
    assert task["predictions"][0]["score"] == 0.95


@pytest.mark.parametrize("fault", SUSPECTED, ids=lambda fault: fault.finding)
def test_weights_find_a_planted_label_error(planted: Path, root: Path, fault: Fault, tmp_path: Path) -> None:
    images = sorted((planted / "images/train").iterdir())
    image = [image for image in images if not fault.needs_label or fault.fits(image)][1]
    fault.plant(image, np.random.default_rng(0))
    weights = str(root / "weights/yolov5n_ca_signs.pt")
    words = [str(planted / "set.yaml"), "--weights", weights, "--no-pixels", "--project", str(tmp_path / "out")]
    assert main(words) == 0
    found = json.loads((tmp_path / "out/exp/findings.json").read_text())["findings"]
    (cases,) = (one["cases"] for one in found if one["name"] == fault.finding)
    assert str(image) in [case["image"] for case in cases]
    tasks = json.loads((tmp_path / "out/exp/suspects.json").read_text())
    assert f"/data/local-files/?d=images/train/{image.name}" in [task["data"]["image"] for task in tasks]


def test_classes_are_paired_by_name(root: Path) -> None:
    weights = str(root / "weights/yolov5n_ca_signs.pt")
    assert open_eye(weights, {0: "ARR_L", 1: "else", 2: "red_tl"}, 320).class_of == {2: 0, 0: 2}
    assert open_eye(weights, dict(enumerate("abcde")), 320).class_of == {i: i for i in range(5)}
    with pytest.raises(ValueError, match=r"knows red_tl, arr_s, .*and none of these is in `names:`: cat, dog"):
        open_eye(weights, {0: "cat", 1: "dog"}, 320)


def test_cleanvision_is_asked_where_it_is_installed(planted: Path, look, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")

    class Imagelab:
        def __init__(self, filepaths: list[str]) -> None:
            self.issues = pandas.DataFrame(index=filepaths)

        def find_issues(self, names: dict, n_jobs: int, verbose: bool) -> None:
            for name in names:
                self.issues[f"is_{name}_issue"] = [name == "blurry" and number == 2 for number in range(20)]

    module = types.ModuleType("cleanvision")
    module.Imagelab = Imagelab
    monkeypatch.setitem(sys.modules, "cleanvision", module)
    monkeypatch.setattr(look_checks, "find_spec", lambda name: True)
    findings = {finding.check.name: finding.found for finding in look(planted).findings}
    assert [Path(case.image).name for case in findings["blurred-image"].cases] == ["000002.jpg"]
    assert "dark-image" not in findings


def test_cleanlab_is_given_what_it_reads(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}

    def get_label_quality_scores(labels: list[dict], predictions: list[np.ndarray], verbose: bool) -> np.ndarray:
        given.update(labels=labels, predictions=predictions)
        return np.linspace(0.49, 0.9, 20)

    rank = types.ModuleType("cleanlab.object_detection.rank")
    rank.get_label_quality_scores = get_label_quality_scores
    rank.issues_from_scores = lambda scores, threshold: np.flatnonzero(scores < threshold)
    package = types.ModuleType("cleanlab.object_detection")
    package.rank = rank
    monkeypatch.setitem(sys.modules, "cleanlab", types.ModuleType("cleanlab"))
    monkeypatch.setitem(sys.modules, "cleanlab.object_detection", package)
    monkeypatch.setattr(suspects, "find_spec", lambda name: True)
    found = suspects.by_cleanlab.look(seen_by(evidence, *RIGHT))
    assert [(Path(case.image).name, case.text) for case in found.cases] == [("000000.jpg", "score 0.490")]
    np.testing.assert_allclose(given["labels"][0]["bboxes"], [[256, 144, 384, 216], [64, 36, 128, 72]], rtol=1e-5)
    assert given["labels"][0]["labels"].tolist() == [1, 0]
    assert [len(of_class) for of_class in given["predictions"][0]] == [1, 1, 0, 0, 0]
    np.testing.assert_allclose(given["predictions"][0][1], [[256, 144, 384, 216, 0.9]])
