"""The twelve figures in both layouts against pycocotools, an independent implementation."""

import contextlib
import io

import numpy as np
import pytest

from engine.validation.coco_metrics import COCO_LAYOUT, FIELD_LAYOUT, Evaluation, Figure

CLASSES = 4


@pytest.fixture(scope="module")
def generated():
    """Images with crowds of objects of all sizes; some without objects, a class that never occurs, false boxes."""
    rng = np.random.default_rng(0)
    truth, found = [], []
    for image in range(1, 26):
        for _ in range(0 if image % 5 == 0 else rng.integers(1, 30)):
            x, y = rng.uniform(0, 500, 2)
            w, h = rng.choice([8, 20, 60, 150]) * rng.uniform(0.6, 1.4, 2)
            row = {"image_id": image, "category_id": int(rng.integers(CLASSES - 1)), "bbox": [x, y, w, h]}
            truth.append({**row, "id": len(truth) + 1, "area": w * h, "iscrowd": 0})
            for _ in range(rng.integers(0, 9)):
                box = [x + rng.normal(0, w / 8), y + rng.normal(0, h / 8), w * rng.uniform(0.8, 1.2), h]
                found.append({**row, "bbox": box, "score": float(rng.random())})
        for _ in range(400 if image == 7 else 3):
            box = [*rng.uniform(0, 500, 2), *rng.uniform(5, 200, 2)]
            class_id = int(rng.integers(CLASSES))
            found.append({"image_id": image, "category_id": class_id, "bbox": box, "score": float(rng.random())})
    images = [{"id": i, "height": 640, "width": 640} for i in range(1, 26)]
    return {"images": images, "annotations": truth, "categories": [{"id": i, "name": str(i)} for i in range(4)]}, found


def ours(truth, found):
    from faster_coco_eval import COCO

    return Evaluation(COCO(truth), found, [image["id"] for image in truth["images"]])


def theirs(truth, found, max_dets):
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = coco.COCO()
        known.dataset = truth
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(found), "bbox")
        evaluation.params.maxDets = max_dets
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation


def test_cocos_own_layout(generated):
    import copy

    truth, found = generated
    evaluation = theirs(copy.deepcopy(truth), copy.deepcopy(found), [1, 10, 100])
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        evaluation.summarize()
    mine = ours(truth, found)
    np.testing.assert_allclose(list(mine.values(COCO_LAYOUT).values()), evaluation.stats, atol=1e-6)
    assert mine.table(COCO_LAYOUT).split() == printed.getvalue().split()


def test_the_fields_layout(generated):
    import copy

    truth, found = generated
    small = theirs(copy.deepcopy(truth), copy.deepcopy(found), [1, 10, 100])
    large = theirs(copy.deepcopy(truth), copy.deepcopy(found), [100, 300, 1000])

    def mean(values):
        return values[values > -1].mean()

    precision, recall = large.eval["precision"], large.eval["recall"]
    want = [
        mean(small.eval["precision"][:, :, :, 0, 2]),
        mean(precision[0, :, :, 0, 2]),
        mean(precision[5, :, :, 0, 2]),
    ]
    want += [mean(precision[:, :, :, area, 2]) for area in (1, 2, 3)]
    want += [mean(recall[:, :, 0, count]) for count in range(3)]
    want += [mean(recall[:, :, area, 2]) for area in (1, 2, 3)]
    mine = ours(truth, found)
    np.testing.assert_allclose(list(mine.values(FIELD_LAYOUT).values()), want, atol=1e-6)
    assert want[0] != mean(precision[:, :, :, 0, 2])  # so that the limit of the first line matters here
    lines = mine.table(FIELD_LAYOUT).splitlines()
    assert [line.split("maxDets=")[1].split()[0] for line in lines] == [
        "100", *["1000"] * 5, "100", "300", *["1000"] * 4
    ]  # fmt: skip


def test_lines_are_those_of_the_field():
    line = " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=1000 ] = 0.502"
    assert FIELD_LAYOUT[1].line(0.502) == line
    assert Figure("", False, None, "small", 100).line(-1).endswith("area= small | maxDets=100 ] = -1.000")


def test_nothing_to_measure(generated):
    truth, found = generated
    empty = {**truth, "annotations": []}
    assert set(ours(empty, found).values(COCO_LAYOUT).values()) == {-1.0}
    assert set(ours(truth, []).values(FIELD_LAYOUT).values()) == {0.0}
    assert set(ours(empty, []).values(FIELD_LAYOUT).values()) == {-1.0}
