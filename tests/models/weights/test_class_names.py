"""Which classes are the same: names evened out, others by request alone."""

import pytest
import torch

from models import build_model, load_spec
from models.weights.class_names import match_classes
from models.weights.transfer import transfer

COCO = {0: "person", 9: "traffic light", 11: "stop sign"}


def test_case_spaces_and_underscores_make_no_difference() -> None:
    target = {0: "trafficlight", 1: "stop", 2: "Person", 3: "Traffic_Light"}
    assert match_classes(COCO, target, {}) == {0: 9, 2: 0, 3: 9}


def test_other_names_by_request() -> None:
    target = {0: "trafficlight", 1: "stop"}
    assert match_classes(COCO, target, {"stop": "Stop_Sign"}) == {0: 9, 1: 11}
    assert match_classes(COCO, target, {"trafficlight": "person"}) == {0: 0}
    with pytest.raises(ValueError, match="--class-map: there is no class 'halt'; expected one of trafficlight, stop"):
        match_classes(COCO, target, {"halt": "stop sign"})
    with pytest.raises(ValueError, match="no class 'stop'; expected one of person, traffic light, stop sign"):
        match_classes(COCO, target, {"stop": "stop"})


def test_numbers_are_no_names() -> None:
    assert match_classes({0: "0", 1: "1"}, {0: "1", 1: "0"}, {}) == {}


def named(names: list[str], seed: int):
    torch.manual_seed(seed)
    model = build_model(load_spec("yolov5n.yaml", nc=len(names)))
    model.set_names(names)
    return model


def test_rows_of_shared_classes_are_carried() -> None:
    source, model = named(["person", "traffic light", "dog"], 0), named(["trafficlight", "crosswalk"], 1)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    report = transfer(model, source)
    for level in range(3):
        for part in ("weight", "bias"):
            key = f"model.24.m.{level}.{part}"
            old, new, fresh = source.state_dict()[key], model.state_dict()[key], before[key]
            old, new, fresh = old.unflatten(0, (3, 8)), new.unflatten(0, (3, 7)), fresh.unflatten(0, (3, 7))
            assert torch.equal(new[:, :5], old[:, :5])
            assert torch.equal(new[:, 5], old[:, 6])
            assert torch.equal(new[:, 6], fresh[:, 6])
    assert report.classes == (("trafficlight", "traffic light"),)
    assert "classes carried by name: trafficlight (from traffic light)" in report.overview
    assert "box and objectness channels; classes by name: 1" in report.overview


def test_as_many_classes_in_another_order_go_by_name() -> None:
    source, model = named(["cat", "dog"], 0), named(["dog", "cat"], 1)
    transfer(model, source)
    old = source.state_dict()["model.24.m.0.weight"].unflatten(0, (3, 7))
    new = model.state_dict()["model.24.m.0.weight"].unflatten(0, (3, 7))
    assert torch.equal(new[:, [6, 5]], old[:, 5:])


def test_as_many_classes_with_other_names_go_by_position() -> None:
    source, model = named(["cat", "dog"], 0), named(["cat", "wolf"], 1)
    report = transfer(model, source)
    assert torch.equal(source.state_dict()["model.24.m.0.weight"], model.state_dict()["model.24.m.0.weight"])
    assert report.count("partly") == 0
