"""Every kind of fault, planted in one image or in a whole set, is named, and nothing else is."""

from pathlib import Path

import numpy as np
import pytest

from analysis.doctor.checks import CHECKS
from analysis.doctor.evidence import same_place
from benchmarks.studies.planted_faults import FAULTS, Fault
from benchmarks.studies.planted_in_sets import OF_THE_SET, SET_FAULTS, SUSPECTED
from engine.validation.metrics import box_iou

FEW = {"unused-class", "rare-class", "few-in-val", "class-missing-in-val"}  # of so few pictures they are true


def test_the_checks_have_names_of_their_own_and_say_what_to_do() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert all(check.title and check.remedy.endswith(".") for check in CHECKS)
    planted = {fault.finding for fault in (*FAULTS, *SET_FAULTS, *SUSPECTED)}
    assert planted == {check.name for check in CHECKS} - {"suspect-by-cleanlab"}


def test_a_clean_set_has_no_findings(drawn: Path, look) -> None:
    assert {finding.check.name for finding in look(drawn).findings} <= FEW


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.finding)
def test_a_fault_in_one_image_is_named(planted: Path, look, fault: Fault) -> None:
    images = sorted((planted / "images/train").iterdir())
    image = next(image for image in images if not fault.needs_label or fault.fits(image))
    expected = fault.plant(image, np.random.default_rng(0))
    findings = {finding.check.name: finding.found for finding in look(planted).findings}
    cases = findings.pop(fault.finding).cases
    assert {Path(case.image or case.text).name for case in cases} == {expected}
    assert set(findings) <= FEW | set(fault.brings)


@pytest.mark.parametrize("fault", SET_FAULTS, ids=lambda fault: fault.finding)
def test_a_fault_of_the_whole_set_is_named(planted: Path, look, fault: Fault) -> None:
    expected = fault.plant(planted, np.random.default_rng(1))
    findings = {finding.check.name: finding.found for finding in look(planted, pixels=False).findings}
    found = findings.pop(fault.finding)
    if fault.finding not in OF_THE_SET:
        assert expected in {case.text.partition(":")[0].partition(",")[0] for case in found.cases}
    assert set(findings) <= FEW | set(fault.brings)


def test_shares_and_remedy_of_small_boxes(planted: Path, look) -> None:
    for label in (planted / "labels").rglob("*.txt"):
        label.unlink()
        label.write_text("0 0.5 0.5 0.01 0.0178\n1 0.5 0.5 0.1 0.1778\n")  # of 640 x 360: 6.4 px and 64 px squares
    findings = {finding.check.name: finding for finding in look(planted, pixels=False).findings}
    assert findings["small-boxes"].found.count == 20
    assert (
        findings["small-boxes"].found.text == "Of 40 boxes at 640 px: 50% under 8 px, 50% under 16 px, 50% under 32 px."
    )
    assert findings["small-boxes"].remedy == "Use --img 960, or train on slices."


def test_classes_counted_from_one_are_named(planted: Path, look) -> None:
    for label in (planted / "labels").rglob("*.txt"):
        label.unlink()
        label.write_text("1 0.5 0.5 0.1 0.1\n5 0.2 0.2 0.1 0.1\n")
    (finding,) = (one for one in look(planted, pixels=False).findings if one.check.name == "class-beyond-names")
    assert "counted from 1" in finding.found.text
    assert "--ids-from 1" in finding.remedy


def test_boxes_in_one_place_against_all_pairs() -> None:
    random = np.random.default_rng(0)
    image = np.sort(random.integers(0, 20, 300))
    low = random.uniform(0, 0.5, (300, 2)).round(1)
    corners = np.concatenate((low, low + 0.2 + random.uniform(0, 0.012, (300, 2))), 1)
    iou = box_iou(corners, corners)
    expected = {(i, j) for i in range(300) for j in range(i + 1, 300) if image[i] == image[j] and iou[i, j] >= 0.9}
    first, second = same_place(image, corners)
    assert len(expected) > 10
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == expected
    assert [len(side) for side in same_place(np.zeros(0, int), np.zeros((0, 4)))] == [0, 0]
