"""The page of worst images: which come first, what is counted, and that it needs nothing else."""

import re

import numpy as np
import torch

from data.images import write_image
from data.loading.loader import ImageShape
from engine.validation.observer import EvaluatedBatch
from engine.validation.worst_images_page import WorstImages

BOX = [10.0, 10, 50, 50]


def test_ordered_by_mistakes(tmp_path):
    labels = [[[0, *BOX]], [[0, *BOX], [1, 60, 60, 90, 90]], [[0, *BOX]], []]
    found = [
        [[*BOX, 0.9, 0]],  # right
        [[*BOX, 0.9, 1], [60, 60, 90, 90, 0.8, 1], [0, 0, 9, 9, 0.3, 0]],  # wrong class and a false box: 3 mistakes
        [[*BOX, 0.2, 0]],  # not confident enough: missed
        [[*BOX, 0.9, 0]],  # nothing there: false
    ]
    paths = [str(tmp_path / f"<{number}>.png") for number in range(4)]
    for path in paths:
        write_image(path, np.full((100, 200, 3), 90, np.uint8))
    page = WorstImages(tmp_path / "worst.html", {0: "стоп", 1: "<b>"})
    shapes = [ImageShape((100, 200), 1.0, (0.0, 0.0))] * 4
    arrays = [np.array(rows, np.float32).reshape(-1, 5) for rows in labels]
    rows = [np.array(rows, np.float32).reshape(-1, 6) for rows in found]
    page(EvaluatedBatch(torch.zeros(4, 3, 100, 200), arrays, rows, rows, paths, shapes))
    page.close()
    text = (tmp_path / "worst.html").read_text(encoding="utf-8")
    assert re.findall(r"&lt;(\d)&gt;\.png", text) == ["1", "2", "3"]
    assert re.findall(r"(\d) missed of (\d), (\d) false of (\d)", text) == [tuple("1223"), tuple("1100"), tuple("0011")]
    assert "1 of 4 images have no mistake" in text
    assert text.count("data:image/jpeg;base64,") == 6
    assert "http" not in text


def test_links_to_what_the_model_looked_at_where_something_was_found(tmp_path):
    path = str(tmp_path / "a.png")
    write_image(path, np.full((100, 200, 3), 90, np.uint8))
    asked = []
    page = WorstImages(tmp_path / "worst.html", {0: "stop"}, lambda *one: asked.append(one))
    labels = [np.array([[0, *BOX]], np.float32)] * 2
    rows = [np.array([[60, 60, 90, 90, 0.9, 0]], np.float32), np.zeros((0, 6), np.float32)]
    shapes = [ImageShape((100, 200), 1.0, (0.0, 0.0))] * 2
    page(EvaluatedBatch(torch.zeros(2, 3, 100, 200), labels, rows, rows, [path, path], shapes))
    page.close()
    ((asked_path, found, folder),) = asked  # the image without detections has nothing to explain
    assert (asked_path, len(found), folder) == (path, 1, tmp_path / "worst" / "01")
    assert (tmp_path / "worst.html").read_text().count('href="worst/01/index.html"') == 1
