"""Small samples of every form, written by hand as its makers write them, converted by the whole command."""

import json
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from data.convert.__main__ import FORMATS, main
from data.convert.source import Source
from data.images import read_image
from tests.support.voc_folders import picture, save, voc_object, voc_xml

# A box from (16, 12) to (48, 36) in a picture of 64x48: centre 0.5 0.5, size 0.5 0.5.
HALF = "0.500000 0.500000 0.500000 0.500000\n"


def text(file: Path, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def coco(folder):
    """Two sides, a crowd, an outline without a box, and a category that nothing has."""
    for side, number in (("train", 0), ("val", 10)):
        for k in range(3):
            save(folder / f"{side}2017" / f"{number + k:012}.jpg", picture(number + k))
        images = [{"id": number + k, "file_name": f"{number + k:012}.jpg", "width": 64, "height": 48} for k in range(3)]
        annotations = [
            {"id": 1, "image_id": number, "category_id": 18, "bbox": [16.0, 12.0, 32.0, 24.0], "iscrowd": 0},
            {
                **{"id": 2, "image_id": number + 1, "category_id": 1, "iscrowd": 0},
                "segmentation": [[16, 12, 48, 12, 48, 36, 16, 36]],
            },
            {
                **{"id": 3, "image_id": number + 2, "category_id": 1, "iscrowd": 1, "bbox": [1, 1, 9, 9]},
                "segmentation": {"size": [48, 64], "counts": [0, 3072]},
            },
        ]
        categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}, {"id": 19, "name": "horse"}]
        content = {"annotations": annotations, "images": images, "categories": categories}
        text(folder / "annotations" / f"instances_{side}2017.json", content)
    return {"train/000000000000": f"1 {HALF}", "val/000000000011": f"0 {HALF}", "train/000000000002": ""}


def roboflow_coco(folder):
    """Images beside `_annotations.coco.json`, and category 0 that only names the group."""
    for side, seed in (("train", 0), ("valid", 1)):
        save(folder / side / f"{side}_jpg.rf.{'0a' * 16}.jpg", picture(seed))
        image = {"id": 0, "file_name": f"{side}_jpg.rf.{'0a' * 16}.jpg", "height": 48, "width": 64}
        box = {"id": 0, "image_id": 0, "category_id": 1, "bbox": [16, 12, 32, 24], "area": 768, "iscrowd": 0}
        categories = [{"id": 0, "name": "signs", "supercategory": "none"}]
        categories += [{"id": 1, "name": "stop", "supercategory": "signs"}]
        content = {"info": {}, "categories": categories, "images": [image], "annotations": [box]}
        text(folder / side / "_annotations.coco.json", content)
    return {f"train/train_jpg.rf.{'0a' * 16}": f"0 {HALF}", f"val/valid_jpg.rf.{'0a' * 16}": f"0 {HALF}"}


def labelme(folder):
    shapes = [
        {"label": "stop", "points": [[48, 36], [16, 12]], "shape_type": "rectangle", "group_id": None, "flags": {}},
        {"label": "yield", "points": [[16, 12], [48, 12], [30, 36]], "shape_type": "polygon", "flags": {}},
        {"label": "round", "points": [[32, 24], [32, 36]], "shape_type": "circle", "flags": {}},
        {"label": "edge", "points": [[1, 1], [5, 5]], "shape_type": "line", "flags": {}},
    ]
    for k in range(4):
        save(folder / f"{k}.jpg", picture(k))
        content = {"version": "5.2.1", "flags": {}, "shapes": shapes if k == 0 else [], "imagePath": f"..\\x\\{k}.jpg"}
        text(folder / f"{k}.json", {**content, "imageData": None, "imageHeight": 48, "imageWidth": 64})
    return {"0": f"1 {HALF}2 {HALF}0 0.500000 0.500000 0.375000 0.500000\n", "1": ""}


def labelstudio(folder):
    def result(value, kind="rectanglelabels"):
        common = {"original_width": 64, "original_height": 48, "image_rotation": 0, "from_name": "label"}
        return {**common, "to_name": "image", "type": kind, "origin": "manual", "id": "a", "value": value}

    box = {"x": 25, "y": 25, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["stop"]}
    # Turned by 90 degrees about its upper left corner (48, 12): 24 px to the left, 32 down, from 24 to 48 and 12 to 44.
    turned = {**box, "x": 75, "width": 50, "height": 50, "rotation": 90}
    tasks = []
    for k in range(4):
        save(folder / "images" / f"{k}.jpg", picture(k))
        results = [[result(box)], [result(turned)], [], [result({"choices": ["x"]}, "choices")]][k]
        annotation = {"id": k, "was_cancelled": False, "result": results}
        cancelled = {"id": 9, "was_cancelled": True, "result": [result(box)]}
        tasks.append({"id": k, "annotations": [annotation, cancelled], "predictions": [{"result": [result(box)]}]})
        tasks[-1]["data"] = {"image": f"/data/upload/1/0123abcd-{k}.jpg"}
    text(folder / "project-1.json", tasks)
    return {"0": f"0 {HALF}", "1": "0 0.562500 0.583333 0.375000 0.666667\n", "3": ""}


def cvat(folder):
    shapes = (
        '<box label="stop" source="manual" occluded="0" xtl="16.00" ytl="12.00" xbr="48.00" ybr="36.00" z_order="0"/>'
        '<polygon label="car" source="manual" occluded="0" points="16,12;48,12;48.0,36.0" z_order="0"/>'
        '<ellipse label="car" cx="32" cy="24" rx="8" ry="12" z_order="0"/>'
        '<polyline label="car" points="1,1;2,2" z_order="0"/>'
    )
    images = ""
    for k in range(4):
        save(folder / "images" / f"{k}.png", picture(k))
        images += f'<image id="{k}" name="{k}.png" width="64" height="48">{shapes if k == 0 else ""}</image>'
    labels = "<labels><label><name>stop</name></label><label><name>car</name></label></labels>"
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>'
    text(folder / "annotations.xml", f"{head}<meta><job>{labels}</job></meta>{images}</annotations>")
    return {"0": f"0 {HALF}1 {HALF}1 0.500000 0.500000 0.250000 0.500000\n", "1": ""}


def cvat_video(folder):
    for k in range(3):
        save(folder / "images" / f"frame_{k:06d}.png", picture(k))
    box = '<box frame="{}" outside="{}" keyframe="1" xtl="16" ytl="12" xbr="48" ybr="36"/>'
    track = f'<track id="0" label="car">{box.format(0, 0)}{box.format(1, 1)}</track>'
    other = f'<track id="1" label="bus">{box.format(2, 0)}</track>'
    text(folder / "annotations.xml", f"<annotations><meta></meta>{track}{other}</annotations>")
    return {"frame_000000": f"1 {HALF}", "frame_000002": f"0 {HALF}"}


def cvat_yolo(folder):
    for k in range(3):
        save(folder / "obj_train_data" / f"{k}.png", picture(k))
        text(folder / "obj_train_data" / f"{k}.txt", "1 0.5 0.5 0.5 0.5\n" if k == 0 else "")
    text(folder / "obj.data", "classes = 2\nnames = data/obj.names\ntrain = data/train.txt\nbackup = backup/\n")
    text(folder / "obj.names", "cat\ndog\n")
    text(folder / "train.txt", "".join(f"data/obj_train_data/{k}.png\n" for k in range(3)))
    return {"0": f"1 {HALF}", "1": ""}


def darknet(folder):
    for k in range(4):
        save(folder / "data" / "obj" / f"{k}.jpg", picture(k))
        text(folder / "data" / "obj" / f"{k}.txt", "0 0.5 0.5 0.5 0.5\r\n")
    root = "build/darknet/x64/data"
    text(
        folder / "data" / "obj.data",
        f"classes=1\ntrain={root}/train.txt\nvalid={root}/test.txt\nnames={root}/obj.names",
    )
    text(folder / "data" / "obj.names", "sign\n")
    text(folder / "data" / "train.txt", f"{root}/obj/0.jpg\n{root}/obj/1.jpg\n")
    text(folder / "data" / "test.txt", f"{root}/obj/2.jpg\n{root}/obj/3.jpg\n")
    return {"train/obj/0": f"0 {HALF}", "val/obj/3": f"0 {HALF}"}


def roboflow(folder):
    for side, seed in (("train", 0), ("valid", 1)):
        save(folder / side / "images" / f"{side}.jpg", picture(seed))
        text(folder / side / "labels" / f"{side}.txt", "1 0.5 0.5 0.5 0.5")
    entries = {"train": "../train/images", "val": "../valid/images", "test": "../test/images"}
    rest = {"nc": 2, "names": ["go", "stop"], "roboflow": {"workspace": "me", "license": "CC BY 4.0"}}
    text(folder / "data.yaml", yaml.safe_dump({**entries, **rest}))
    text(folder / "README.roboflow.txt", "signs\n")
    return {"train/train": f"1 {HALF}", "val/valid": f"1 {HALF}"}


def ultralytics(folder):
    for side, seed in (("train", 0), ("val", 1)):
        save(folder / "images" / side / "images" / "a.jpg", picture(seed))
        text(folder / "labels" / side / "images" / "a.txt", "")
        save(folder / "images" / side / "b.jpg", picture(seed + 5))
        text(folder / "labels" / side / "b.txt", "0 0.5 0.5 0.5 0.5\n")
    content = {"path": "/content/datasets/signs", "train": "images/train", "val": "images/val", "names": {0: "sign"}}
    text(folder / "signs.yaml", yaml.safe_dump(content))
    return {"train/b": f"0 {HALF}", "val/b": f"0 {HALF}", "val/a": ""}


def label_img(folder):
    for k in range(3):
        save(folder / "images" / f"{k}.jpg", picture(k))
        text(folder / "labels" / f"{k}.txt", f"{k % 2} 0.5 0.5 0.5 0.5\n")
    text(folder / "classes.txt", "go\nstop\n")
    text(folder / "notes.json", {"categories": [{"id": 0, "name": "go"}]})
    return {"0": f"0 {HALF}", "1": f"1 {HALF}"}


def gtsdb(folder):
    for number in (0, 1, 600, 601):
        save(folder / f"{number:05}.ppm", picture(number))
    save(folder / "14" / "00000.ppm", picture(9))  # a cut-out sign
    text(folder / "gt.txt", "00000.ppm;16;12;48;36;14\n00600.ppm;16;12;48;36;1\n00000.ppm;16;12;32;36;1\n")
    text(folder / "ReadMe.txt", "1. About this file\n")
    return {
        "train/00000": f"14 {HALF}1 0.375000 0.500000 0.250000 0.500000\n",
        "val/00600": f"1 {HALF}",
        "train/00001": "",
    }


def cctsdb_2017(folder):
    for k in range(3):
        save(folder / "Images" / f"{k:05}.png", picture(k))
    rows = ("00000.png;16;12;48;36;prohibitory", "00001.png;16;12;48;36;warning", "00002.png;16;12;48;36;mandatory")
    text(folder / "GroundTruth" / "GroundTruth.txt", "\n".join(rows))
    return {"00000": f"1 {HALF}", "00001": f"0 {HALF}", "00002": f"2 {HALF}"}


def cctsdb_2021(folder):
    for side, number in (("train", 0), ("test", 18992)):
        save(folder / f"{side}_img" / f"{number:05}.jpg", picture(number))
        content = voc_xml(f"{number:05}.jpg", voc_object("mandatory", (16, 12, 48, 36)))
        text(folder / "xml" / f"{number:05}.xml", content)
    return {"train/train_img/00000": f"2 {HALF}", "val/test_img/18992": f"2 {HALF}"}


def tt100k(folder):
    images = {}
    for side, number in (("train", 10056), ("test", 20), ("other", 7)):
        save(folder / "data" / side / f"{number}.jpg", picture(number))
        box = {"xmin": 16.0, "ymin": 12.0, "ymax": 36.0, "xmax": 48.0}
        objects = [{"category": "pl60", "bbox": box, "ellipse_org": [[1, 2]]}, {"category": "w99", "bbox": box}]
        images[str(number)] = {"path": f"{side}/{number}.jpg", "id": number, "objects": objects}
    text(folder / "data" / "annotations.json", {"imgs": images, "types": ["i1", "pl60", "w99"]})
    return {"train/10056": f"29 {HALF}", "val/20": f"29 {HALF}"}


def bdd(folder):
    for side, seed in (("train", 0), ("val", 1)):
        save(folder / "images" / "100k" / side / f"{side}-a.jpg", picture(seed))
        box = {"x1": 16.0, "y1": 12.0, "x2": 48.0, "y2": 36.0}
        labels = [
            {"category": "traffic sign", "attributes": {"occluded": False}, "manualShape": True, "box2d": box, "id": 0},
            {"category": "bike", "box2d": {**box, "x2": 32.0}, "id": 1},
            {"category": "drivable area", "poly2d": [{"vertices": [[1, 2]], "types": "L", "closed": True}], "id": 2},
        ]
        frame = {"name": f"{side}-a.jpg", "attributes": {"weather": "clear"}, "timestamp": 10000, "labels": labels}
        text(folder / "labels" / f"bdd100k_labels_images_{side}.json", [frame])
    return {"train/100k/train-a": f"9 {HALF}7 0.375000 0.500000 0.250000 0.500000\n"}


def visdrone(folder):
    rows = [
        "16,12,32,24,1,4,0,0",
        "1,1,20,20,0,0,0,0",
        "30,30,9,9,1,11,0,1",
        "2,2,9,9,0,1,0,0",
        "16,12,16,24,1,10,0,2,",
    ]
    for side, seed in (("train", 0), ("val", 1), ("test-dev", 2)):
        place = folder / f"VisDrone2019-DET-{side}"
        save(place / "images" / f"000000{seed}_d_1.jpg", picture(seed))
        text(place / "annotations" / f"000000{seed}_d_1.txt", "\r\n".join(rows) + "\r\n")
    rows = f"3 {HALF}9 0.375000 0.500000 0.250000 0.500000\n"
    places = {"train": "train/VisDrone2019-DET-train", "val": "val/VisDrone2019-DET-val"}
    places["test"] = "test/VisDrone2019-DET-test-dev"
    return {f"{place}/000000{k}_d_1": rows for k, place in enumerate(places.values())}


def csv(folder):
    rows = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    for k in range(3):
        save(folder / "images" / f"{k}.jpg", picture(k))
        rows.append(f'{k}.jpg,64,48,"stop, or not",16,12,48,36')
    text(folder / "labels.csv", "\ufeff" + "\r\n".join(rows))
    return {"0": f"0 {HALF}"}


def voc(folder):
    for k in range(3):
        save(folder / "JPEGImages" / f"{k}.jpg", picture(k))
        text(folder / "Annotations" / f"{k}.xml", voc_xml(f"{k}.jpg", voc_object("stop", (16, 12, 48, 36))))
    return {"0": f"0 {HALF}"}


SAMPLES = {
    "voc": [voc],
    "coco": [coco, roboflow_coco],
    "labelme": [labelme],
    "labelstudio": [labelstudio],
    "cvat": [cvat, cvat_video],
    "yolo": [roboflow, ultralytics, darknet, cvat_yolo, label_img],
    "gtsdb": [gtsdb],
    "tt100k": [tt100k],
    "cctsdb": [cctsdb_2017, cctsdb_2021],
    "visdrone": [visdrone],
    "bdd": [bdd],
    "csv": [csv],
}
FLAGS = {cvat_video: ["--split", "1,0"]}  # one clip is on one side
PAIRS = [(name, build) for name, builders in SAMPLES.items() for build in builders]


def labels_of(out):
    """Label files by name, with the side before it where the set has its own."""
    return {
        path.relative_to(out / "labels").with_suffix("").as_posix(): path.read_text() for path in out.rglob("*.txt")
    }


def tree(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_every_format_has_a_sample():
    assert set(SAMPLES) == set(FORMATS)


@pytest.mark.parametrize(("name", "build"), PAIRS, ids=[build.__name__ for _, build in PAIRS])
def test_sample_by_hand(name, build, tmp_path, capsys):
    source, out = tmp_path / "set", tmp_path / "out"
    expected = build(source)
    before = tree(source)
    assert main([str(source), "--out", str(out), *FLAGS.get(build, [])]) == 0, capsys.readouterr()
    assert capsys.readouterr().out.startswith(f"format: {name}, because of ")
    labels = labels_of(out)
    sideless = {key.split("/", 1)[1]: rows for key, rows in labels.items()}
    for key, rows in expected.items():
        assert (labels if "/" in key else sideless)[key] == rows, key
    assert tree(source) == before
    for image in (out / "images").rglob("*.*"):
        assert (out / "labels" / image.relative_to(out / "images")).with_suffix(".txt").is_file()


@pytest.mark.parametrize(("name", "build"), PAIRS, ids=[build.__name__ for _, build in PAIRS])
def test_an_archive_gives_what_the_folder_gives(name, build, tmp_path):
    build(tmp_path / "set")
    shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "set")
    shutil.make_archive(str(tmp_path / "set"), "gztar", tmp_path, "set")  # all in one folder
    expected = None
    for source in ("set", "set.zip", "set.tar.gz"):
        out = tmp_path / source.replace("set", "out")
        assert main([name, str(tmp_path / source), "--out", str(out), *FLAGS.get(build, [])]) == 0
        labels = labels_of(out)
        expected = expected or labels
        assert labels == expected
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_what_was_left_out_is_reported(tmp_path):
    for build in (coco, labelme, cvat, tt100k, bdd, labelstudio, visdrone):
        build(tmp_path / build.__name__)
        assert main([str(tmp_path / build.__name__), "--out", str(tmp_path / f"{build.__name__}_out")]) == 0
    reports = {build.stem.removesuffix("_out"): (build / "report.md").read_text() for build in tmp_path.glob("*_out")}
    assert "image 2: 1 crowds (--keep-crowd keeps them)" in reports["coco"]
    assert "edge is a line, which has no area" in reports["labelme"]
    assert "car is a <polyline>, which has no area" in reports["cvat"]
    assert "1 of rare classes (--all-classes keeps them)" in reports["tt100k"]
    assert "1 images that the set gives to no side" in reports["tt100k"]
    assert "1 of drivable area, which have no box" in reports["bdd"]
    assert "a choices without a label" in reports["labelstudio"]
    assert "9 regions to ignore, objects of no class, and objects with a score of 0" in reports["visdrone"]


@pytest.mark.parametrize(
    ("build", "flags", "names", "boxes"),
    [
        (coco, ["--keep-crowd"], ["person", "dog", "horse"], 6),
        (gtsdb, ["--categories"], ["prohibitory", "danger", "mandatory", "other"], 3),
        (tt100k, ["--all-classes"], ["i1", "pl60", "w99"], 4),
        (csv, ["--columns", "x1=width"], ["stop, or not"], 0),
    ],
)
def test_formats_own_flags(build, flags, names, boxes, tmp_path):
    build(tmp_path / "set")
    assert main([str(tmp_path / "set"), "--out", str(tmp_path / "out"), *flags]) == 0
    assert list(yaml.safe_load((tmp_path / "out" / "out.yaml").read_text())["names"].values()) == names
    assert sum(rows.count("\n") for rows in labels_of(tmp_path / "out").values()) == boxes


def test_a_table_with_other_columns(tmp_path, capsys):
    for k in range(3):
        save(tmp_path / "set" / f"{k}.jpg", picture(k))
    rows = "".join(f"{k};stop;0,25;0.25;0.5;0.5\n" if k == 2 else f"{k};stop;0.25;0.25;0.5;0.5\n" for k in range(3))
    text(tmp_path / "set" / "t.csv", "ImageID;kind;x;y;w;h\n" + rows)
    command = ["csv", str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--normalised"]
    assert main(command) == 2
    assert "no column for label among ImageID, kind, x, y, w, h; name them with --columns label=COLUMN" in (
        capsys.readouterr().err
    )
    assert main([*command, "--columns", "label=kind"]) == 0
    labels = {Path(key).name: rows for key, rows in labels_of(tmp_path / "out").items()}
    assert labels == {"0": f"0 {HALF}", "1": f"0 {HALF}", "2": ""}
    assert "a decimal comma is not read" in (tmp_path / "out" / "report.md").read_text()


def test_ppm_is_written_as_png_without_loss(tmp_path):
    gtsdb(tmp_path / "set")
    assert main([str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 0
    written = read_image(tmp_path / "out" / "images" / "train" / "00000.png")
    np.testing.assert_array_equal(written, cv2.imread(str(tmp_path / "set" / "00000.ppm"))[..., ::-1])


def test_images_that_no_annotation_names_are_counted(tmp_path):
    coco(tmp_path / "set")
    for name in ("x", "y"):
        save(tmp_path / "set" / "train2017" / f"{name}.jpg", picture(50 + ord(name)))
    assert main([str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert "2 images that no annotation names, e.g. train2017/x.jpg" in report


def test_frames_and_copies_of_one_clip_stay_together(tmp_path, capsys):
    for clip in ("a", "b", "c", "d"):
        for k in range(4):
            stem = f"{clip}_{k}"
            save(tmp_path / "set" / "images" / f"{stem}.jpg", picture(10 * ord(clip) + k))
            text(
                tmp_path / "set" / "annotations" / f"{stem}.xml", voc_xml(f"{stem}.jpg", voc_object("s", (1, 1, 9, 9)))
            )

    def sides(out, *flags):
        assert main([str(tmp_path / "set"), "--out", str(tmp_path / out), "--split", "0.5,0.25,0.25", *flags]) == 0
        return {path.stem: path.parent.name for path in (tmp_path / out / "images").rglob("*.jpg")}

    alone = sides("alone")
    assert any(len({alone[f"{clip}_{k}"] for k in range(4)}) > 1 for clip in "abcd")
    together = sides("together", "--clips", r"(.*)_\d+")
    assert all(len({together[f"{clip}_{k}"] for k in range(4)}) == 1 for clip in "abcd")
    assert sorted(together.values()) == ["test"] * 4 + ["train"] * 8 + ["val"] * 4
    assert main([str(tmp_path / "set"), "--out", str(tmp_path / "one"), "--clips", "_(?=.)()"]) == 2
    assert "cannot be split into 2 sides without a leak" in capsys.readouterr().err


def test_classes_are_kept_renamed_and_merged(tmp_path):
    gtsdb(tmp_path / "set")
    choice = "speed limit 30=limit,speed limit 20=limit,stop"
    assert main([str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--classes", choice, "--min-size", "20"]) == 0
    assert yaml.safe_load((tmp_path / "out" / "out.yaml").read_text())["names"] == {0: "limit", 1: "stop"}
    labels = labels_of(tmp_path / "out")
    assert (labels["train/00000"], labels["val/00600"]) == (f"1 {HALF}", f"0 {HALF}")
    assert "is narrower than --min-size 20 inside the 64x48 picture" in (tmp_path / "out" / "report.md").read_text()
    text(tmp_path / "choice.yaml", "stop: halt\n")
    flags = ["--classes", str(tmp_path / "choice.yaml"), "--split", "0.5,0.5"]
    assert main([str(tmp_path / "set"), "--out", str(tmp_path / "two"), *flags]) == 0
    assert yaml.safe_load((tmp_path / "two" / "two.yaml").read_text())["names"] == {0: "halt"}
    assert sum(map(bool, labels_of(tmp_path / "two").values())) == 1


def test_nothing_to_tell_a_format_by(tmp_path, capsys):
    save(tmp_path / "set" / "a.png", picture(1))
    assert main([str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 2
    assert "the format shows in no file (.png found); name it before SOURCE: yolo, gtsdb" in capsys.readouterr().err
    assert main(["coco2", str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 2
    assert "coco2: expected one of the formats yolo, gtsdb" in capsys.readouterr().err
    assert main(["coco", str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 2
    assert "no .json with `images` and `annotations`" in capsys.readouterr().err


def test_paths_that_climb_name_no_file_outside(tmp_path):
    save(tmp_path / "secret.jpg", picture(99))
    coco(tmp_path / "set")
    file = tmp_path / "set" / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = "../../secret.jpg"
    content["images"][1]["file_name"] = str(tmp_path / "secret.jpg")
    text(file, content)
    assert main([str(tmp_path / "set"), "--out", str(tmp_path / "out")]) == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert report.count("no image is called secret.jpg") == 2
    assert len(list((tmp_path / "out" / "images" / "train").iterdir())) == 1


def test_zip_files_made_on_windows_unpack(tmp_path):
    roboflow(tmp_path / "set")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted((tmp_path / "set").rglob("*.*")):
            info = zipfile.ZipInfo(str(path.relative_to(tmp_path / "set")).replace("/", "\\"))
            archive.writestr(info, path.read_bytes())
    assert main([str(tmp_path / "set.zip"), "--out", str(tmp_path / "out")]) == 0
    assert labels_of(tmp_path / "out")["train/train"] == f"1 {HALF}"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_stays_on_its_pixels_when_exif_turns_the_picture(orientation, tmp_path):
    """Boxes are drawn on the turned picture, and where the sides are exchanged also on the unturned one."""
    rgb = np.full((48, 64, 3), 60, np.uint8)
    rgb[8:24, 40:60] = 250  # off centre, so that no turn leaves it where it is
    exif = Image.Exif()
    exif[0x0112] = orientation
    drawn = {}
    for name, pixels in (("upright", None), ("stored", rgb)):
        if name == "stored" and 1 < orientation < 5:
            continue  # of equal sides; which one was meant does not show, and the report says so
        file = tmp_path / "set" / "images" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rgb).save(file, exif=exif)
        pixels = read_image(file) if pixels is None else pixels
        rows, columns = np.nonzero(pixels[..., 0] > 200)
        drawn[name] = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        size = pixels.shape[1::-1]
        text(tmp_path / "set" / "xml" / f"{name}.xml", voc_xml(f"{name}.png", voc_object("sign", drawn[name]), size))
    flags = ["--split", "1,0", "--near-duplicate-bits", "-1"]
    assert main([str(tmp_path / "set"), "--out", str(tmp_path / "out"), *flags]) == 0
    for name in drawn:
        (image,) = (tmp_path / "out" / "images").rglob(f"{name}.png")
        upright = read_image(image)
        height, width = upright.shape[:2]
        (label,) = (tmp_path / "out" / "labels").rglob(f"{name}.txt")
        x, y, w, h = np.array(label.read_text().split()[1:], float) * (width, height, width, height)
        inside = np.zeros((height, width), bool)
        inside[round(y - h / 2) : round(y + h / 2), round(x - w / 2) : round(x + w / 2)] = True
        np.testing.assert_array_equal(inside, upright[..., 0] > 200)


def test_source_is_told_from_folder_words(tmp_path):
    save(tmp_path / "a" / "images" / "x.png", picture(1))
    assert Source(tmp_path).name_of(tmp_path / "a" / "images" / "x.png") == "a/x"
