"""What an insertion is said to do is what it does: rows, cost, weights, and the identity, which is run."""

import shlex

import pytest
import yaml

from analysis.insertion_trial import base_spec, moved_rows, train_command, try_insertion
from engine.config.train_parser import create_parser
from models import build_model, load_spec, save_model
from models.attention import create_attention
from models.attention.se import SE
from models.insertion import insert as insertion
from models.insertion.places import parse_request


@pytest.fixture(scope="module")
def small(tmp_path_factory, root):
    """A very small yolov5n, and weights of it."""
    folder = tmp_path_factory.mktemp("small")
    model = yaml.safe_load((root / "models/yolov5n.yaml").read_text())
    (folder / "small.yaml").write_text(yaml.safe_dump({**model, "width_multiple": 0.125}, default_flow_style=None))
    save_model(build_model(load_spec(folder / "small.yaml")), folder / "small.pt")
    return folder


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_rows_cost_weights_and_identity(small) -> None:
    spec = base_spec(small / "small.yaml")
    trial = try_insertion(spec, "SE(reduction=4)@neck.P3,6", small / "small.pt", image_px=64, repeats=1)
    assert trial.identical
    assert trial.request == "SE(reduction=4)@neck.P3,6"
    added = [create_attention("SE", channels, reduction=4) for channels in (64, 32)]  # rows 6 and 17 at this width
    assert trial.changed.parameters - trial.base.parameters == sum(map(count, added))
    assert trial.changed.macs > trial.base.macs > 1e6
    assert trial.base.latency_ms > 0
    fresh = [name for module in added for name, _ in module.named_parameters()]
    assert trial.transfer.count("new") == len(fresh)
    assert trial.transfer.count("unused") == trial.transfer.count("partly") == 0
    assert trial.transfer.source == "small.pt"
    (small / "new.yaml").write_text(trial.yaml)
    assert count(build_model(load_spec(small / "new.yaml"))) == trial.changed.parameters


def test_what_moved_is_what_the_new_list_says_at_that_row() -> None:
    spec = load_spec("yolov5n.yaml")
    rows = moved_rows(spec, parse_request("CBAM@neck.P3"))
    assert [row.old for row in rows] == [*range(18), None, *range(18, 25)]
    assert [row.new for row in rows] == list(range(26))
    changed = {row.new: (row.before, row.text) for row in rows if row.before}
    assert changed == {25: ("[[17, 20, 23], 1, Detect, [nc, anchors]]", "[[18, 21, 24], 1, Detect, [nc, anchors]]")}
    joined = {row.new: row.text for row in moved_rows(spec, parse_request("CBAM@4")) if row.before}
    assert joined[17] == "[[-1, 5], 1, Concat, [1]]"  # it reads the module, and no longer the row itself


def test_old_rows_are_those_of_the_overlay_and_not_of_its_base() -> None:
    rows = moved_rows(load_spec("yolov5n_ca.yaml"), parse_request("SE@3"))
    assert [row.old for row in rows if row.old is not None] == list(range(28))


def test_the_identity_is_asked_for_whatever_the_start(small, monkeypatch) -> None:
    spec = base_spec(None, small / "small.pt")
    paper = try_insertion(spec, "SE(start='paper')", image_px=64, repeats=0)
    assert paper.identical
    assert paper.request == "SE(start='paper')@neck"
    assert paper.base.latency_ms is None
    monkeypatch.setattr(insertion, "check_identity", lambda *_: None)
    monkeypatch.setattr(SE, "forward", lambda self, x: 0.5 * x)
    assert not try_insertion(spec, "SE", image_px=64, repeats=0).identical


@pytest.mark.parametrize(
    ("request_text", "said"),
    [("SE@neck.P9", "no place"), ("SEE", "did you mean"), ("SE(sise=3)", "no option 'sise'"), ("SE(@neck", "expected")],
)
def test_mistakes(small, request_text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        try_insertion(base_spec(small / "small.yaml"), request_text)


def test_a_base_has_to_be_there() -> None:
    with pytest.raises(ValueError, match="expected a model YAML or weights"):
        base_spec("")


def test_the_command_is_one_that_train_reads(small) -> None:
    trial = try_insertion(base_spec(small / "small.yaml"), "CBAM(kernel_size=3)@neck.P3", image_px=64, repeats=0)
    command = train_command(trial, cfg=str(small / "small.yaml"), weights="", data="signs.yaml")
    words = shlex.split(command)
    assert words[:2] == ["python", "train.py"]
    given = create_parser().parse_args(words[2:])
    assert (given.cfg, given.weights, given.data) == (str(small / "small.yaml"), "", "signs.yaml")
    assert given.attention == ["CBAM(kernel_size=3)@neck.P3"]
