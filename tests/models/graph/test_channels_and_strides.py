"""The mistakes that the graph shows: each is one ValueError with the rows to paste."""

import copy
import re
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from models import build_model, insert, load_spec
from models.graph.channels_and_strides import head_anchors
from models.graph.checked import analyse, checked_spec
from models.model_yaml import FOLDER
from models.spec.model_spec import ModelSpec
from tests.support.model_layouts import FACTS, layout

CHANGED = re.compile(r"row (\d+): \[.*?\] -> (\[.*?\])(?=;|$|  \()", re.MULTILINE)


def stock() -> dict[str, Any]:
    """yolov5s.yaml as a mapping."""
    return yaml.safe_load((FOLDER / "yolov5s.yaml").read_text(encoding="utf-8"))


def insert_by_hand(data: dict[str, Any], row: int, new: list[Any]) -> dict[str, Any]:
    """Insert a row as people do: without renumbering anything."""
    part, index = ("backbone", row) if row < len(data["backbone"]) else ("head", row - len(data["backbone"]))
    data[part].insert(index, new)
    return data


def set_row(data: dict[str, Any], row: int, value: list[Any]) -> dict[str, Any]:
    part, index = ("backbone", row) if row < len(data["backbone"]) else ("head", row - len(data["backbone"]))
    data[part][index] = value
    return data


def check(data: dict[str, Any], name: str = "x.yaml") -> ModelSpec:
    spec = checked_spec(data, name)
    analyse(spec)
    return spec


@pytest.mark.parametrize("name", FACTS)
def test_channels_and_strides_of_every_layout(name: str) -> None:
    graph = analyse(checked_spec(layout(name)))
    assert tuple(graph[s].stride for s in graph[-1].layer.source) == FACTS[name].strides
    assert graph[-1].plan is None
    assert all(row.channels > 0 and row.stride >= 1 for row in graph[:-1])


def test_rows_of_yolov5s() -> None:
    graph = analyse(load_spec("yolov5s.yaml"))
    assert [(row.channels, int(row.stride)) for row in graph[:10]] == [
        (32, 2), (64, 4), (64, 4), (128, 8), (128, 8), (256, 16), (256, 16), (512, 32), (512, 32), (512, 32),
    ]  # fmt: skip
    assert graph[12].inputs == (256, 256)
    assert graph[24].inputs == (128, 256, 512)
    assert head_anchors(load_spec("yolov5s.yaml")).automatic is False
    assert head_anchors(checked_spec(layout("p2"))) == (((0, 1, 2, 3, 4, 5),) * 4, True)


@pytest.mark.parametrize("row", range(1, 25))
def test_a_row_inserted_by_hand_is_caught_and_the_remedy_is_right(row: int) -> None:
    data = insert_by_hand(stock(), row, [-1, 1, "CBAM", []])
    with pytest.raises(ValueError, match=rf"^x.yaml: .* P3 to P5 with row {row} \(CBAM\) inserted:\n") as caught:
        build_model(checked_spec(data, "x.yaml"))
    for number, text in CHANGED.findall(str(caught.value)):
        set_row(data, int(number), yaml.safe_load(text))
    fixed = check(data)
    expected = insert(load_spec("yolov5s.yaml"), f"CBAM@{row - 1}")
    assert [(x.source, x.module, x.args) for x in fixed.layers] == [
        (x.source, x.module, x.args) for x in expected.layers
    ]


def test_several_rows_inserted_by_hand() -> None:
    data = stock()
    for row in (24, 21, 18):  # behind each level of the neck
        insert_by_hand(data, row, [-1, 1, "SE", []])
    with pytest.raises(ValueError, match=r"with row 18 \(SE\), row 22 \(SE\), row 26 \(SE\) inserted:\n") as caught:
        check(data)
    for number, text in CHANGED.findall(str(caught.value)):
        set_row(data, int(number), yaml.safe_load(text))
    assert check(data).layers[-1].source == (18, 22, 26)


def test_another_block_inserted_by_hand() -> None:
    data = insert_by_hand(stock(), 9, [-1, 1, "Conv", [1024, 3, 1]])
    with pytest.raises(ValueError, match=r"if a row was inserted by hand.*row 25: .* -> \[\[18, 21, 24\], 1, Detect"):
        check(data)


@pytest.mark.parametrize(
    ("row", "written", "message"),
    [
        (24, [[17, 20, 22], 1, "Detect", ["nc", "anchors"]],
         r"row 24: \[\[17, 20, 22\], .* -> \[\[17, 20, 23\], .* row 22 \(Concat\) in place of row 23"),
        (24, [[17, 20], 1, "Detect", ["nc", "anchors"]], r"row 23 \(C3\): expected a reader, .*; delete it, or name"),
        (24, [[17, 23, 20], 1, "Detect", ["nc", "anchors"]], r"strides 8, 32, 16: expected strides that "
         r"ascend; paste row 24: \[\[17, 20, 23\], 1, Detect, \[nc, anchors\]\]"),
        (24, [[17, 20, 20, 23], 1, "Detect", ["nc", "anchors"]], r"a row twice; e.g. row 24: \[\[17, 20, 23\]"),
        (24, [[17, 20, 22, 23], 1, "Detect", ["nc", "anchors"]], r"reads row 22 \(Concat\), but row 23 \(C3\) goes"),
        (24, [[4, 17, 20, 23], 1, "Detect", ["nc", "anchors"]], r"strides 8, 8, 16, 32|reads row 4 \(C3\), but row"),
        (12, [[-1, 7], 1, "Concat", [1]], r"row 12: \[\[-1, 7\], 1, .* -> \[\[-1, 6\], 1, Concat, \[1\]\]"),
        (12, [[-1, 7, 6], 1, "Concat", [1]], r"row 12 \(Concat\): reads \[11, 7, 6\]: expected maps of one size but "
         r"row 11 \(nn.Upsample\) has stride 16, row 7 \(Conv\) has stride 32, row 6 .*; e.g. \[\[-1, "),
        (9, [-1, 1, "SPFF", [1024, 5]], r"x.yaml: an unknown module: row 9 'SPFF' \(nearest known: SPPF.*; e.g. "
         r"\[-1, 1, SPPF, \[1024, 5\]\]\)"),
        (23, [-1, 3, "Detect", []], r"row 23 \(Detect\): Detect is allowed only as the last row, 24; delete row 23"),
        (24, [[17, 20, 23], 1, "Concat", [1]], r"row 24 \(Concat\): expected the last row to be Detect; move"),
        (13, [[-1, 12], 3, "C3", [512]], r"row 13 \(C3\): .* expected one row to read but got 2"),
        (13, [-1, 3, "C3", []], r"row 13 .*expected the output channels, .* but got \[\]; e.g. \[512\]"),
        (13, [-1, 3, "C3", ["None"]], r"expected the output channels"),
        (13, [-1, 3, "C3", [10**9]], r"expected the output channels, from 1 to 65536"),
        (13, [-1, 3, "C3", [512, 1, 1, 0.5, 7, 8, 9]], r"do not fit C3\(c1, .*, attention, bottleneck_e\)"),
        (13, [-1, 3, "C3", [512, "no"]], r"C3: `shortcut`: expected True or False but got 'no'"),
        (13, [-1, 3, "C3", [512, False, 1, -1]], r"C3: `e`: expected a number above 0"),
        (14, [-1, 1, "Conv", [256, "a"]], r"Conv: `k`: expected a whole number from 1 to 255.* but got 'a'"),
        (14, [-1, 1, "Conv", [256, 1, 0]], r"Conv: `s`: expected a whole number from 1 to 64 but got 0"),
        (14, [-1, 1, "Conv", [256, 1, 1, None, 1, 1, "nn.Tanh()"]], r"activation: expected one of nn.SiLU"),
        (14, [-1, 2, "nn.Upsample", ["None", 2]], r"row 14 .*stride|expected maps of one size"),
        (14, [-1, 9, "Conv", [256, 1, 1]], r"3 repeats need as many input as output channels but got 256 and 128"),
        (11, [-1, 1, "nn.Upsample", ["None", 0]], r"nn.Upsample: `scale_factor`: expected a number above 0"),
        (11, [-1, 1, "nn.Upsample", [40]], r"expected `scale_factor` to be a positive number but got None"),
        (12, [[-1, 6], 1, "Concat", [2]], r"Concat: `dimension`: expected 1, the channels but got 2"),
        (12, [[-1, 6], 9, "Concat", [1]], r"row 12 \(Concat\): .*expected number 1 but got 3"),
        (2, [-1, 3, "CBAM", [64]], r"the channels 64 become 32 by the width multiple 0.5, but the row it reads has 64"),
        (2, [-1, 3, "CBAM", [{"kernel": 3}]], r"CBAM has no option 'kernel'; it takes start, reduction"),
        (2, [[-1, 0], 3, "CBAM", []], r"expected maps of one size|expected one row to read but got 2"),
        (2, [-1, 3, "C3", [128, {"attention": "CBBM"}]], r"Expected the name of an attention module but got 'CBBM'"),
        (2, [-1, 3, "C3", [128, {"attention": {}}]], r"attention: expected a name, or one name with .* got {}"),
        (2, [-1, 3, "C3", [128, {"attention": {"SE": 3}}]], r"attention: expected a name"),
        (2, [-1, 3, "C3TR", [128, {"attention": "SE"}]], r"C3TR takes no `attention`; C3, C2f and Bottleneck do"),
        (0, [-1, 1, "nn.Upsample", ["None", 64]], r"stride 1/64; expected 1 to 65536 channels and a stride from 1/4"),
        (24, [[-25, 20, 23], 1, "Detect", ["nc", "anchors"]], r"no later row|goes on from it|row 24"),
    ],
)  # fmt: skip
def test_one_error_for_each_mistake(row: int, written: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check(set_row(stock(), row, written))
    assert str(caught.value).startswith("x.yaml: ")


def test_every_unknown_module_is_named_at_once() -> None:
    data = stock()
    set_row(data, 4, [-1, 6, "C3_Faster", [256]])
    set_row(data, 9, [-1, 1, "FastSPPF", [1024, 5]])
    set_row(data, 17, [-1, 3, "Zzzzzz", [256, False]])
    with pytest.raises(ValueError, match="3 rows with unknown modules") as caught:
        check(data)
    text = str(caught.value)
    assert "row 4 'C3_Faster' (nearest known: " in text
    assert "row 9 'FastSPPF' (nearest known: SPPF" in text
    assert "row 17 'Zzzzzz' (no known name is near)" in text


@pytest.mark.parametrize(
    ("anchors", "message"),
    [
        ([[10, 13], [30, 61]], r"anchors: expected one list for each of the 3 rows that .* but got 2; .* anchors: 1"),
        ([[10, 13]] * 4, "but got 4"),
        ([[116, 90], [30, 61], [10, 13]], r"areas descend; paste anchors: \[\[10.0, 13.0\], \["),
    ],
)  # fmt: skip
def test_anchors_that_do_not_match_the_levels(anchors: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check({**stock(), "anchors": anchors})


def test_two_levels_of_one_stride() -> None:
    data = {**stock(), "anchors": 3}
    data["head"][-1:] = [[4, 1, "Conv", [256, 1, 1]], [[17, 24, 20, 23], 1, "Detect", ["nc", "anchors"]]]
    with pytest.raises(ValueError, match=r"strides 8, 8, 16, 32: expected .* paste row 25: \[\[24, 20, 23"):
        check(data)


def test_detect_cannot_read_the_image() -> None:
    data = {
        "nc": 1,
        "anchors": 1,
        "backbone": [[-1, 1, "Conv", [8, 3, 2]]],
        "head": [[[-1], 1, "Detect", ["nc", "anchors"]]],
    }
    spec = check(data)
    with pytest.raises(ValueError, match=r"row 1 \(Detect\): reads the image"):
        analyse(ModelSpec(layers=(spec.layers[0], type(spec.layers[1])((-1, 0), 1, "Detect")), nc=1, anchors=1))


MODULES = (
    "Conv", "C3", "SPPF", "Concat", "nn.Upsample", "SE", "C3TR", "Focus", "Contract", "nn.MaxPool2d", "nn.Identity",
    "GhostConv", "Detect", "Expand", "x",
)  # fmt: skip
ARGUMENTS = (0, 1, 2, 3, 8, 64, 300, -1, 0.5, "nearest", "None", True, [2, 2], {"k": 3}, [], float("nan"))


def corrupted(draw: st.DrawFn, data: dict[str, Any]) -> dict[str, Any]:
    """One random edit such as people make: another index, number, name or argument, a row more, less or moved."""
    part = draw(st.sampled_from(["backbone", "head"]))
    rows = data[part]
    at = draw(st.integers(0, len(rows) - 1))
    small = st.integers(-30, 30)
    edit = draw(st.sampled_from(["from", "number", "module", "args", "insert", "delete", "swap"]))
    if edit == "from":
        rows[at][0] = draw(st.one_of(small, st.lists(small, max_size=4)))
    elif edit == "number":
        rows[at][1] = draw(st.sampled_from([0, 1, 2, 3, -1, 1.0, "1", None]))
    elif edit == "module":
        rows[at][2] = draw(st.sampled_from(MODULES))
    elif edit == "args":
        rows[at][3] = draw(st.lists(st.sampled_from(ARGUMENTS), max_size=4))
    elif edit == "insert":
        source = draw(st.one_of(small, st.lists(small, min_size=1, max_size=2)))
        rows.insert(at, [source, 1, *draw(st.sampled_from([("CBAM", []), ("Conv", [64, 1]), ("Concat", [1])]))])
    elif edit == "delete":
        del rows[at]
    else:
        other = draw(st.integers(0, len(rows) - 1))
        rows[at], rows[other] = rows[other], rows[at]
    return data


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.data())
def test_a_corrupted_file_builds_completely_or_gives_that_one_error(drawn: st.DataObject) -> None:
    data = copy.deepcopy(layout(drawn.draw(st.sampled_from(["yolov5", "fpn", "v3-tiny", "p2"])), 3))
    data = drawn.draw(st.composite(corrupted)(data))
    try:
        model = build_model(checked_spec(data, "x.yaml"))
    except ValueError as error:
        assert str(error).startswith("x.yaml: ")  # noqa: PT017  (either outcome is right)
    else:
        model.train()
        maps = model(torch.rand(2, 3, 2 * model.stride_px, 2 * model.stride_px))
        sum(y.square().mean() for y in maps).backward()
        assert all(p.grad is not None for p in model.parameters())  # so every row is read
