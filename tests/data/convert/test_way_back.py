"""There and back: COCO and Pascal VOC come back from YOLO layout as they were, to what six decimals hold."""

import json
from contextlib import redirect_stdout
from io import StringIO

import faster_coco_eval
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data.convert.__main__ import main
from tests.data.convert.test_formats import labels_of, text
from tests.support.voc_folders import picture, save, voc_object, voc_xml

NAMES = ["go", "stop", "yield"]


@pytest.fixture
def objects():
    """Boxes (x1, y1, x2, y2) in 64x48 and their class, for each of twelve images."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(12):
        low = rng.uniform(0, 30, (4, 2))
        boxes = np.concatenate([low, low + rng.uniform(4, 18, (4, 2))], 1).round(2)
        found.append([(box, NAMES[int(k)]) for box, k in zip(boxes.tolist(), rng.integers(0, 3, 4), strict=True)])
    return found


def coco_of(objects):
    images = [{"id": k, "file_name": f"{k:06}.png", "width": 64, "height": 48} for k in range(len(objects))]
    annotations = []
    for image, rows in enumerate(objects):
        for (x1, y1, x2, y2), name in rows:
            box = [x1, y1, x2 - x1, y2 - y1]
            own = {"id": len(annotations) + 1, "image_id": image, "category_id": NAMES.index(name)}
            annotations.append({**own, "bbox": box, "area": box[2] * box[3], "iscrowd": 0})
    categories = [{"id": k, "name": name} for k, name in enumerate(NAMES)]
    return {"images": images, "annotations": annotations, "categories": categories}


def detections(content):
    """The same for both sides: the objects moved a little, with scores, and some that are none."""
    rng = np.random.default_rng(1)
    found = []
    for one in content["annotations"]:
        if rng.random() < 0.9:
            box = (np.array(one["bbox"]) + rng.normal(0, 1.2, 4)).tolist()
            own = {"image_id": one["image_id"], "category_id": one["category_id"]}
            found.append({**own, "bbox": box, "score": float(rng.random())})
    return found


def figures(content, found, tmp_path, name):
    """The twelve of pycocotools and of faster-coco-eval."""
    file = tmp_path / f"{name}.json"
    text(file, {"info": {}, **content})
    results = []
    with redirect_stdout(StringIO()):
        for load, evaluate in ((COCO, COCOeval), (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)):
            truth = load(str(file))
            run = evaluate(truth, truth.loadRes([dict(one) for one in found]), "bbox")
            run.evaluate()
            run.accumulate()
            run.summarize()
            results.append(np.array(run.stats[:12]))
    return results


def merged(folder):
    """The COCO files of all sides as one, in an order of its own."""
    parts = [json.loads(file.read_text()) for file in sorted((folder / "annotations").glob("*.json"))]
    images = [one for part in parts for one in part["images"]]
    numbered = [{**one, "id": k} for k, one in enumerate((a for part in parts for a in part["annotations"]), start=1)]
    return {"images": images, "annotations": numbered, "categories": parts[0]["categories"]}


def same_figures(before, after, tmp_path):
    found = detections(before)
    for one, other in zip(figures(before, found, tmp_path, "b"), figures(after, found, tmp_path, "a"), strict=True):
        assert 0.3 < one[0] < 1  # a comparison of figures that say something
        np.testing.assert_allclose(other, one, atol=1e-9)


def test_coco_comes_back(objects, tmp_path):
    before = coco_of(objects)
    for k in range(12):
        save(tmp_path / "set" / "images" / f"{k:06}.png", picture(k))
    text(tmp_path / "set" / "annotations.json", before)
    assert main([str(tmp_path / "set"), "--out", str(tmp_path / "yolo"), "--split", "0.5,0.25,0.25"]) == 0
    assert main(["--to", "coco", str(tmp_path / "yolo")]) == 0
    after = merged(tmp_path / "yolo_coco")
    assert after["categories"] == before["categories"]
    assert sorted(after["images"], key=lambda one: one["id"]) == before["images"]
    assert len(after["annotations"]) == len(before["annotations"])
    same_figures(before, after, tmp_path)
    assert "## " not in (tmp_path / "yolo" / "report.md").read_text().replace("## Settings", "").replace(
        "## Near-duplicates", ""
    )


@pytest.mark.parametrize("form", ["voc", "labelme"])
def test_voc_and_labelme_come_back(form, objects, tmp_path):
    for k, rows in enumerate(objects):
        save(tmp_path / "set" / "images" / f"{k:06}.png", picture(k))
        content = voc_xml(f"{k:06}.png", "".join(voc_object(name, box) for box, name in rows))
        text(tmp_path / "set" / "annotations" / f"{k:06}.xml", content)
    there, back, again = tmp_path / "yolo", tmp_path / "back", tmp_path / "again"
    assert main([str(tmp_path / "set"), "--out", str(there)]) == 0
    assert main(["--to", form, str(there / "yolo.yaml"), "--out", str(back)]) == 0
    own_split = ["--image-sets"] if form == "voc" else []
    assert main([str(back), "--out", str(again), *own_split]) == 0

    def rows(out):
        return {
            key: np.array([line.split() for line in value.splitlines()], float) for key, value in labels_of(out).items()
        }

    first, second = rows(there), rows(again)
    assert first.keys() == second.keys()  # the sides too
    for key, value in first.items():
        np.testing.assert_allclose(second[key], value, atol=3e-5)  # a thousandth of a pixel of 64
    assert main(["--to", "coco", str(again), "--out", str(tmp_path / "coco")]) == 0
    same_figures(coco_of(objects), merged(tmp_path / "coco"), tmp_path)


def test_where_it_may_be_written(objects, tmp_path, capsys):
    for k in range(3):
        save(tmp_path / "set" / "images" / f"{k}.png", picture(k))
    before = {**coco_of(objects), "images": [{"id": k, "file_name": f"{k}.png"} for k in range(3)]}
    text(tmp_path / "set" / "a.json", before)
    assert main([str(tmp_path / "set"), "--out", str(tmp_path / "yolo")]) == 0
    for words, message in (
        (["--out", str(tmp_path / "yolo" / "x")], "expected a folder outside of the set"),
        (["--out", str(tmp_path / "set")], "is not empty"),
    ):
        assert main(["--to", "coco", str(tmp_path / "yolo"), *words]) == 2
        assert message in capsys.readouterr().err
    assert main(["--to", "coco", str(tmp_path / "set")]) == 2
    assert "expected one .yaml that describes the set but found 0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--to", "pdf", str(tmp_path / "yolo")])
    assert main([str(tmp_path / "yolo")]) == 2
    assert "--out: expected the folder to write" in capsys.readouterr().err
