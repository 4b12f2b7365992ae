"""What the model looked at on the page of worst images and in compare's report: pictures, pages and their links."""

import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch

from data.images import ImageReadError, write_image
from data.loading.loader import ImageShape
from engine.validation.explained_images import MOST_BOXES, ImageExplainer, cam_and_gates
from engine.validation.observer import EvaluatedBatch
from engine.validation.worst_images_page import WorstImages
from models import build_model, insert, load_spec

NAMES = {0: "stop", 1: "戴口罩"}
ROWS = np.array([[5 + i, 5, 60 + i, 50, 0.9 - 0.1 * i, i % 2] for i in range(MOST_BOXES + 1)], np.float32)


@pytest.fixture(scope="module")
def explainer():
    torch.manual_seed(0)
    model = build_model(insert(load_spec("yolov5n.yaml", nc=2), "SE@neck.P4"))
    return ImageExplainer(model, NAMES, 96)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a b#1.png"
    write_image(path, np.random.default_rng(0).integers(0, 255, (60, 100, 3), np.uint8))
    return str(path)


def test_the_most_confident_are_explained(explainer, image):
    explanation = explainer(image, ROWS)
    np.testing.assert_array_equal(explanation.found.boxes_xyxy_px, ROWS[:MOST_BOXES, :4])
    assert explanation.found.class_ids.tolist() == [0, 1, 0, 1, 0]
    assert len(explanation.cams) == MOST_BOXES
    assert {one.module for one in explanation.gates} == {"SE"}
    with pytest.raises(ImageReadError):
        explainer(f"{image}.gone", ROWS)


def test_pictures_of_a_report_are_as_wide_as_asked(explainer, image):
    cam, gates = cam_and_gates(explainer(image, ROWS), 200)
    assert cam.shape == (120, 200, 3)
    assert gates.shape[1] == 200
    nothing, gates = cam_and_gates(explainer(image, ROWS[:0]), 200)
    assert nothing is None
    assert gates.shape[1] == 200


def test_without_attention_there_are_no_gates(image):
    plain = ImageExplainer(build_model(load_spec("yolov5n.yaml", nc=2)), NAMES, 96)
    assert cam_and_gates(plain(image, ROWS), 200)[1] is None


def test_every_link_of_the_worst_images_leads_to_a_page_whose_pictures_are_there(explainer, image, tmp_path):
    page = WorstImages(tmp_path / "worst.html", NAMES, explainer.save)
    batch = EvaluatedBatch(
        torch.zeros(2, 3, 60, 100),
        [np.zeros((0, 5), np.float32)] * 2,
        [ROWS] * 2,
        [ROWS] * 2,
        [image] * 2,
        [ImageShape((60, 100), 1.0, (0.0, 0.0))] * 2,
    )
    page(batch)
    page.close()
    links = re.findall(r'href="([^"]+)"', (tmp_path / "worst.html").read_text(encoding="utf-8"))
    assert len(set(links)) == 2
    for link in links:
        target = tmp_path / unquote(link)
        files = re.findall(r'(?:src|href)="([^"]+)"', target.read_text(encoding="utf-8"))
        assert len(files) > 10
        assert all(Path(target.parent, unquote(file)).is_file() for file in files)
