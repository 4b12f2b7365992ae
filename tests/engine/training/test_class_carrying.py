"""From the COCO weights to a data set's own classes, as train.py does it, and the warning of mirrored classes."""

from dataclasses import replace

import torch

from data.hyp import load_hyp
from engine.config.train_request import parse_train_args
from engine.training.build_run import create_model, tell_of_mirrored_classes
from models.weights.checkpoint import read_checkpoint

TRAFFIC_LIGHT, STOP_SIGN = 9, 11  # in COCO


def class_rows(state: dict[str, torch.Tensor], classes: int) -> torch.Tensor:
    """(anchors, 5 + classes, channels) of the finest level."""
    return state["model.24.m.0.weight"].float().reshape(3, 5 + classes, -1)


def test_class_rows_arrive_by_name_and_by_request(capsys) -> None:
    words = ["--data", "roadsigns_demo.yaml", "--noautoanchor", "--class-map", "stop=stop sign"]
    request = parse_train_args(words)
    started = create_model(request)
    source = class_rows(read_checkpoint(request.config.weights).state_dict, 80)
    model = class_rows(started.model.state_dict(), 4)
    assert torch.equal(model[:, :5], source[:, :5])
    assert torch.equal(model[:, 5:7], source[:, [5 + TRAFFIC_LIGHT, 5 + STOP_SIGN]])
    assert started.model.names[1] == "stop"
    told = "classes carried by name: trafficlight (from traffic light), stop (from stop sign)"
    assert told in capsys.readouterr().out
    assert started.transfer.classes == (("trafficlight", "traffic light"), ("stop", "stop sign"))


def test_mirrored_classes_are_warned_of_where_images_are_mirrored(capsys) -> None:
    hyp = load_hyp("hyp.scratch-low.yaml")
    tell_of_mirrored_classes(hyp, {0: "turn_left", 1: "turn_right", 2: "stop"})
    said = capsys.readouterr().out
    assert said.startswith("Warning: fliplr 0.5 shows turn_left, turn_right mirrored under the same name")
    tell_of_mirrored_classes(replace(hyp, fliplr=0.0), {0: "turn_left", 1: "turn_right"})
    tell_of_mirrored_classes(hyp, {0: "person"})
    assert capsys.readouterr().out == ""
