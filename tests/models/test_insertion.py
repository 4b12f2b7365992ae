"""Insertion by API, overlay and command line: places, readers, order, the written layer list."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from model_layouts import FACTS, layout

from models import build_model, insert, load_spec
from models.attention import ATTENTION, create_attention
from models.graph import analyse
from models.insertion import Insertion, each_place, insert_after, layer_list, main, parse_request, places
from models.layers import LayerSpec, ModelSpec
from models.parsing import parse_spec


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
    found = places(parse_spec(layout(name)))
    assert {place: found.get(place) for place in expected} == expected
    assert ("backbone.sppf" in found) == (not name.startswith("v3"))
    assert {p for p in found if p.startswith("neck.")} == {f"neck.P{s.bit_length() - 1}" for s in FACTS[name].strides}


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


@pytest.mark.parametrize(
    ("text", "name", "where", "options"),
    [
        ("SE", "SE", ("neck",), {}),
        (" CoordAtt @ neck.P3 , neck.P4 ", "CoordAtt", ("neck.P3", "neck.P4"), {}),
        ("CBAM(kernel_size=3, residual=False)@17", "CBAM", (17,), {"kernel_size": 3, "residual": False}),
        ("CBAMBlock()@each", "CBAMBlock", ("each",), {}),
        ("Timm(layer='a@b')", "Timm", ("neck",), {"layer": "a@b"}),
        ("Timm(layer='eca', x=[1, -2])@0", "Timm", (0,), {"layer": "eca", "x": (1, -2)}),
    ],
)
def test_requests(text: str, name: str, where: tuple, options: dict) -> None:
    found = parse_request(text)
    assert (found.name, found.places, dict(found.options), found.readers) == (name, where, options, None)


@pytest.mark.parametrize(
    "text",
    ["", "@neck", "SE@", "SE@,", "SE(3)@neck", "SE(reduction)@neck", "SE(reduction=x)", "SE(reduction=1, reduction=2)",
     "SE(**{})", "SE(reduction=print())", "a.b@neck", "SE; SE", "SE(" * 300, "(" * 900, "SE(a={[]: 1})", "\0", "SE(a"],
)  # fmt: skip
def test_requests_in_another_form(text: str) -> None:
    with pytest.raises(ValueError, match=r"--attention .*: expected Name, Name@place,place or Name\(option=value\)@p"):
        parse_request(text)


@pytest.mark.parametrize(
    ("request_text", "message"),
    [
        ("CBBM@neck", "Expected the name of an attention module but got 'CBBM'; did you mean 'CBAM'"),
        ("SE@neck.P6", r"no place 'neck.P6'; it has backbone.P1, .*neck.P5, neck, backbone, and the rows 0 to 23"),
        ("SE@24", "no place 24"),
        ("SE@-1", "no place '-1'"),
        ("SE@each", "@each is a study of every place in turn"),
        ("SE(reductoin=4)@neck", "SE has no option 'reductoin'; it takes start, reduction"),
        ("SE(reduction=[{}])@neck", "--attention|reduction"),
    ],
)
def test_requests_that_the_model_cannot_meet(base: ModelSpec, request_text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(insert(base, request_text))


def test_each_place(base: ModelSpec) -> None:
    found = each_place(base, "CBAM(kernel_size=3)@each")
    assert found[0] == "CBAM(kernel_size=3)@backbone.P1"
    assert [f.split("@")[1] for f in found] == list(places(base))
    for request in found:
        assert sum(x.base_row is None for x in insert(base, request).layers) == 1
    assert each_place(base, "CBAM@neck") == ["CBAM@neck"]
    with pytest.raises(ValueError, match="expected `each` alone"):
        each_place(base, "CBAM@each,neck")


OVERLAY = """
base: yolov5n.yaml
nc: 3
insert:
  - {after: [neck.P3, 23], attention: CBAMBlock, kernel_size: 3}
  - {after: backbone.P3, attention: SE, reduction: 4, start: identity, readers: [16]}
"""


def test_overlay(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(OVERLAY, encoding="utf-8")
    spec = load_spec(file)
    assert (spec.nc, spec.file, spec.base) == (3, "mine.yaml", "yolov5n.yaml")
    base = load_spec("yolov5n.yaml")
    with_options = Insertion("SE", (4,), (("reduction", 4), ("start", "identity")), (16,))
    same = insert(base, ["CBAM(kernel_size=3)@17,23", with_options])
    assert rows(spec) == rows(same)
    on_top = tmp_path / "more.yaml"
    on_top.write_text("base: mine.yaml\nwidth_multiple: 0.5\nanchors: 4\ninsert: [{after: 0, attention: SE}]", "utf-8")
    more = load_spec(on_top)
    assert (more.base, more.width_multiple, more.anchors) == ("yolov5n.yaml", 0.5, 4)
    assert [x.base_row for x in more.layers if x.base_row is not None] == list(range(25))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("3", r"x.yaml: insert: expected a list such as \[{after: neck.P3, attention: CoordAtt}\] but got 3"),
        ("[]", "x.yaml: insert: expected a list"),
        ("[SE]", r"x.yaml: insert\[0\]: expected {after"),
        ("[{after: 3}]", r"x.yaml: insert\[0\]: expected {after"),
        ("[{after: 3, attention: SE}, {after: 3, attention: 5}]", r"insert\[1\]: attention: expected the name"),
        ("[{after: 3, attention: SEE}]", r"insert\[0\]: Expected the name of an attention module but got 'SEE'"),
        ("[{after: true, attention: SE}]", r"insert\[0\]: after: expected a place, a row of the base, or a list"),
        ("[{after: {a: 1}, attention: SE}]", r"insert\[0\]: after"),
        ("[{after: [[1]], attention: SE}]", r"insert\[0\]: after"),
        ("[{after: [], attention: SE}]", r"insert\[0\]: after"),
        ("[{after: 3, attention: SE, readers: 5}]", r"insert\[0\]: readers: expected rows of the base, e.g. \[18\]"),
        ("[{after: 3, attention: SE, readers: [a]}]", r"insert\[0\]: readers"),
        ("[{after: 3, attention: SE, readers: []}]", r"insert\[0\]: readers"),
        ("[{after: 3, attention: SE, 4: 5}]", r"insert\[0\]: args: expected numbers"),
        ("[{after: 3, attention: SE, reductoin: 5}]", r"x.yaml: row 4 \(SE\): .*SE has no option 'reductoin'"),
        ("[{after: 99, attention: SE}]", r"x.yaml: no place 99"),
        ("[{after: nowhere, attention: SE}]", r"x.yaml: no place 'nowhere'"),
    ],
)
def test_wrong_overlays(tmp_path: Path, entries: str, message: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"base: yolov5n.yaml\ninsert: {entries}", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_spec(file)


def test_layer_list_reads_back_as_the_same_model(base: ModelSpec, tmp_path: Path) -> None:
    specs = [
        base,
        insert(base, ["CBAM(kernel_size=3, residual=False)@neck", "Timm(layer='eca')@0"]),
        insert(base, Insertion("SE", ("neck.P3",), readers=(18,))),
        *(parse_spec(layout(name), name) for name in FACTS),
        parse_spec({**layout("yolov5"), "ch": 1, "channel_multiple": 4, "activation": "nn.Hardtanh(0, 1)"}),
    ]
    for spec in specs:
        text = layer_list(spec)
        again = parse_spec(yaml.safe_load(text), spec.file)
        assert rows(again) == rows(spec)
        assert again.to_dict() == {**spec.to_dict(), "base": None}
        lines = [line for line in text.splitlines() if line.startswith("  - [") and "#" in line]
        for index, (line, row) in enumerate(zip(lines, analyse(spec), strict=True)):
            note = f"# {index}: " + (f"stride {row.stride}, {row.channels} channels" if row.plan else "detections")
            assert note in line


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "my.yaml"
    requests = ["--attention", "CoordAtt@neck.P4", "--attention", "SE@backbone.P5"]
    assert main(["--cfg", "yolov5s.yaml", *requests, "--start", "identity", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    expected = insert(load_spec("yolov5s.yaml"), ["CoordAtt@neck.P4", "SE@backbone.P5"], start="identity")
    assert rows(load_spec(out)) == rows(expected)
    assert "stride 16, 256 channels, inserted" in out.read_text(encoding="utf-8")
    assert main(["--cfg", "yolov5s.yaml"]) == 0
    assert "backbone:\n  - [-1, 1, Conv, [64, 6, 2, 2]]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cfg", "none.yaml"], "model file 'none.yaml' was not found"),
        (["--cfg", "yolov5s.yaml", "--attention", "SE@x"], "no place 'x'"),
        (["--cfg", "yolov5s.yaml", "--start", "identity"], "--start: expected --attention beside it"),
        (["--cfg", "yolov5s.yaml", "--out", "/nowhere/x.yaml"], "/nowhere/x.yaml cannot be written"),
    ],
)
def test_command_line_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    shown = capsys.readouterr().err
    assert left.value.code == 2
    assert shown.startswith("python -m models.insertion: error: ")
    assert message in shown


def test_as_a_module() -> None:
    command = [sys.executable, "-m", "models.insertion", "--cfg", "yolov5n_eca.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("ECA, []") == 3
    assert done.stderr == ""


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.data())
def test_a_random_insertion_builds_and_every_parameter_learns(drawn: st.DataObject) -> None:
    spec = parse_spec(layout(drawn.draw(st.sampled_from(sorted(FACTS))), 3))
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
