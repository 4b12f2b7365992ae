"""Insertion by the API: places, readers, order, and that what was inserted learns."""

import re
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import build_model, insert, load_spec
from models.attention import ATTENTION, create_attention
from models.attention.parts.base import Attention
from models.graph.checked import analyse, checked_spec
from models.insertion import identity_check
from models.insertion.insert import Insertion, insert_after, places
from models.spec.model_spec import LayerSpec, ModelSpec
from tests.support.model_layouts import FACTS, layout


@pytest.fixture(scope="module")
def base() -> ModelSpec:
    return load_spec("yolov5n.yaml")


def rows(spec: ModelSpec) -> list[tuple[Any, ...]]:
    return [(x.source, x.number, x.module, x.args, dict(x.options), x.base_row) for x in spec.layers]


def test_every_later_reader_reads_the_new_row(base: ModelSpec) -> None:
    spec = insert(base, "CBAM@4")  # row 4 is read by row 5 and by the join at row 16
    assert spec.layers[5] == LayerSpec((4,), 1, "CBAM", (), {}, None)
    assert spec.layers[6].source == (5,)
    assert spec.layers[17].source == (16, 5)
    assert spec.layers[-1].source == (18, 21, 24)
    assert spec.backbone_rows == 11
    assert [x.base_row for x in spec.layers] == [0, 1, 2, 3, 4, None, *range(5, 25)]
    assert base == load_spec("yolov5n.yaml")  # the old spec is as it was


def test_insert_after_by_hand() -> None:
    layers = (
        LayerSpec((-1,), 1, "Conv", (8, 3, 2), {}, 0),
        LayerSpec((0,), 1, "Conv", (8, 3), {}, 1),
        LayerSpec((1, 0), 1, "Concat", (1,), {}, 2),
        LayerSpec((2,), 1, "Detect", ("nc", "anchors"), {}, 3),
    )
    spec = ModelSpec(layers, 1, 1, backbone_rows=2)
    new = LayerSpec((), 1, "SE")
    assert [x.source for x in insert_after(spec, 0, new).layers] == [(-1,), (0,), (1,), (2, 1), (3,)]
    assert [x.source for x in insert_after(spec, 0, new, {2}).layers] == [(-1,), (0,), (0,), (2, 1), (3,)]
    assert insert_after(spec, 1, new).backbone_rows == 3
    assert insert_after(spec, 2, new).backbone_rows == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("yolov5", {"backbone.P1": 0, "backbone.P2": 2, "backbone.P3": 4, "backbone.P4": 6, "backbone.P5": 8,
                    "backbone.sppf": 9, "neck.P3": 17, "neck.P4": 20, "neck.P5": 23}),
        ("p2", {"backbone.P5": 8, "backbone.sppf": 9, "neck.P2": 21, "neck.P3": 24, "neck.P4": 27, "neck.P5": 30}),
        ("p6", {"backbone.P5": 8, "backbone.P6": 10, "backbone.sppf": 11, "neck.P3": 23, "neck.P6": 32}),
        ("p7", {"backbone.P7": 12, "backbone.sppf": 13, "neck.P7": 41}),
        ("p34", {"neck.P3": 17, "neck.P4": 20}),
        ("fpn", {"neck.P3": 18, "neck.P4": 14, "neck.P5": 10}),
        ("v3-tiny", {"backbone.P1": 2, "backbone.P4": 8, "backbone.P5": 12, "neck.P4": 19, "neck.P5": 15}),
    ],
)  # fmt: skip
def test_places_are_resolved_from_the_graph(name: str, expected: dict[str, int]) -> None:
    found = places(checked_spec(layout(name)))
    assert {place: found.get(place) for place in expected} == expected
    assert ("backbone.sppf" in found) == (not name.startswith("v3"))
    assert {p for p in found if p.startswith("neck.")} == {f"neck.P{s.bit_length() - 1}" for s in FACTS[name].strides}


def test_pooling_inside_the_backbone() -> None:
    data = layout("yolov5")  # as before release 6.0: the last stage behind the pooling
    data["backbone"][8:] = [[-1, 1, "SPP", [1024, [5, 9, 13]]], [-1, 3, "C3", [1024, False]]]
    found = places(checked_spec(data))
    assert (found["backbone.P5"], found["backbone.sppf"]) == (7, 8)


def test_places_after_an_insertion_are_those_of_the_new_model(base: ModelSpec) -> None:
    spec = insert(base, "SE@backbone.P3,neck.P3")
    assert places(spec)["backbone.P3"] == 5
    assert spec.layers[places(spec)["neck.P3"]].module == "SE"


def test_groups_of_places_and_the_default(base: ModelSpec) -> None:
    neck = insert(base, "SE@neck.P3,neck.P4,neck.P5")
    assert rows(insert(base, "SE")) == rows(insert(base, "SE@neck")) == rows(neck)
    backbone = insert(base, "SE@backbone")
    assert [i for i, x in enumerate(backbone.layers) if x.module == "SE"] == [1, 4, 7, 10, 13]


def test_mixed_modules_in_any_order(base: ModelSpec) -> None:
    one = insert(base, ["CBAM(kernel_size=3)@neck.P4", "CoordAtt@backbone.P3", "SE@17"])
    other = insert(base, ["SE@17", "CoordAtt@backbone.P3", "CBAM(kernel_size=3)@neck.P4"])
    assert rows(one) == rows(other)
    assert [x.module for x in one.layers if x.base_row is None] == ["CoordAtt", "SE", "CBAM"]
    assert next(x.options for x in one.layers if x.module == "CBAM") == {"kernel_size": 3}


def test_two_modules_at_one_place_apply_in_the_order_given(base: ModelSpec) -> None:
    spec = insert(base, ["SE@neck.P3", "CBAM@neck.P3"])
    assert [(x.module, x.source) for x in spec.layers[18:20]] == [("SE", (17,)), ("CBAM", (18,))]
    assert spec.layers[20].source == (19,)
    assert spec.layers[-1].source[0] == 19
    again = insert(insert(base, "SE@neck.P3"), "CBAM@neck.P3")
    assert rows(again) == rows(spec)
    assert again.base == "yolov5n.yaml"


def test_aliases_become_canonical_names(base: ModelSpec) -> None:
    assert insert(base, "CBAMBlock@neck.P3").layers[18].module == "CBAM"


def test_start(base: ModelSpec) -> None:
    spec = insert(base, ["SE@neck.P3", "CBAM(start='paper')@neck.P4"], start="identity")
    assert [x.options for x in spec.layers if x.base_row is None] == [{"start": "identity"}, {"start": "paper"}]


def test_readers_limit_who_reads(base: ModelSpec) -> None:
    # Row 4 is read by 5 and 16, row 17 by 18 and by Detect, row 24.
    only_join = insert(base, Insertion("SE", (4,), readers=(16,)))
    assert (only_join.layers[6].source, only_join.layers[17].source) == ((4,), (16, 5))
    only_detect = insert(base, Insertion("SE", ("neck.P3",), readers=(24,)))
    assert only_detect.layers[19].source == (17,)
    assert only_detect.layers[-1].source == (18, 21, 24)
    not_detect = insert(base, Insertion("SE", ("neck.P3",), readers=(18,)))
    assert not_detect.layers[19].source == (18,)
    assert not_detect.layers[-1].source == (17, 21, 24)
    for spec in (only_join, only_detect, not_detect):
        build_model(spec)


def test_readers_of_modules_at_one_place(base: ModelSpec) -> None:
    # SE for Detect alone, then CBAM for everyone: CBAM goes before it. Then ECA for Detect: behind both.
    spec = insert(base, [Insertion("SE", (17,), readers=(24,)), Insertion("CBAM", (17,))])
    assert [(x.module, x.source) for x in spec.layers[18:20]] == [("CBAM", (17,)), ("SE", (18,))]
    assert (spec.layers[20].source, spec.layers[-1].source[0]) == ((18,), 19)
    both = insert(base, [Insertion("SE", (17,)), Insertion("CBAM", (17,), readers=(24,))])
    assert [(x.module, x.source) for x in both.layers[18:20]] == [("SE", (17,)), ("CBAM", (18,))]
    assert (both.layers[20].source, both.layers[-1].source[0]) == ((18,), 19)


@pytest.mark.parametrize(
    ("readers", "message"),
    [
        ((16, 5, 7), r"readers: expected some of the rows that read row 4, \[5, 16\], .* but got \[16, 5, 7\]"),
        ((3,), r"but got \[3\]"),
        ((99,), r"but got \[99\]"),
    ],
)
def test_readers_that_do_not_read(base: ModelSpec, readers: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        insert(base, Insertion("SE", (4,), readers=readers))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.data())
def test_a_random_insertion_builds_and_every_parameter_learns(drawn: st.DataObject) -> None:
    spec = checked_spec(layout(drawn.draw(st.sampled_from(sorted(FACTS))), 3))
    known = places(spec)
    names = sorted(set(ATTENTION) - {"Timm"})
    requests = []
    for _ in range(drawn.draw(st.integers(1, 2))):
        place = drawn.draw(st.one_of(st.sampled_from([*known, "neck"]), st.integers(2, len(spec.layers) - 2)))
        requests.append(f"{drawn.draw(st.sampled_from(names))}@{place}")
    wide = insert(spec, requests, start=drawn.draw(st.sampled_from(["paper", "identity"])))
    old, new = analyse(spec), analyse(wide)
    try:
        for row in (row for row in new if row.layer.base_row is None):
            create_attention(row.layer.module, row.channels)
    except ValueError as error:  # a module that cannot take so few channels
        with pytest.raises(ValueError, match=re.escape(str(error))):
            build_model(wide)
        return
    model = build_model(wide)
    assert [new[s].stride for s in new[-1].layer.source] == [old[s].stride for s in old[-1].layer.source]
    assert new[-1].inputs == old[-1].inputs
    assert [x.base_row for x in wide.layers if x.base_row is not None] == list(range(len(spec.layers)))
    side_px = max(64, model.stride_px)
    maps = model(torch.rand(2, 3, side_px, side_px))
    sum(y.square().mean() for y in maps).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


class Believed(Attention):
    """A module of a user that takes `start` and ignores it."""

    def __init__(self, channels: int, *, gain: float = 2.0, start: str = "paper") -> None:
        super().__init__(channels, start=start)
        self.gain = gain
        Believed.built.append(channels)

    built: ClassVar[list[int]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gain


def test_an_identity_is_run_and_not_believed(base: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ATTENTION, "Believed", Believed)
    monkeypatch.setattr(identity_check, "_PROBLEMS", {})
    torch.manual_seed(1)
    follows = torch.rand(3)
    torch.manual_seed(1)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"Believed with the options {start: identity} does not start as the iden"):
            insert(base, "Believed@neck", start="identity")
    assert Believed.built == [64]  # once for all places, and for all requests
    insert(base, "Believed(gain=1.0)@neck", start="identity")
    assert Believed.built == [64, 64]
    insert(base, "Believed@neck")
    assert Believed.built == [64, 64]
    assert torch.equal(torch.rand(3), follows)


@pytest.mark.parametrize("name", sorted(set(ATTENTION) - {"Timm"}))
def test_every_module_of_the_zoo_passes_the_check_of_its_identity(base: ModelSpec, name: str) -> None:
    for place in ("backbone.P3", "backbone.sppf", "neck.P4"):
        assert insert(base, f"{name}@{place}", start="identity").layers
