"""Reading model YAMLs: what is accepted, and the one error for everything else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from models import LayerSpec, insert, load_spec
from models.graph.checked import checked, checked_spec
from models.spec.parse_stored import spec_from_dict
from tests.support.model_layouts import layout


def write(folder: Path, data: object, name: str = "x.yaml") -> Path:
    file = folder / name
    file.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return file


def test_rows_are_absolute_and_literal() -> None:
    spec = load_spec("yolov5s.yaml")
    assert len(spec.layers) == 25
    assert spec.backbone_rows == 10
    assert spec.layers[0] == LayerSpec((-1,), 1, "Conv", (64, 6, 2, 2), {}, 0)
    assert spec.layers[11] == LayerSpec((10,), 1, "nn.Upsample", (None, 2, "nearest"), {}, 11)
    assert spec.layers[12].source == (11, 6)
    assert spec.layers[24] == LayerSpec((17, 20, 23), 1, "Detect", ("nc", "anchors"), {}, 24)
    assert spec.anchors[0] == (10, 13, 16, 30, 33, 23)
    assert (spec.nc, spec.depth_multiple, spec.width_multiple, spec.file) == (80, 0.33, 0.5, "yolov5s.yaml")


def test_negative_indices_count_back() -> None:
    assert checked_spec(layout("v3-tiny")).layers[16].source == (14,)


def test_a_name_without_ending_and_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_spec("yolov5n") == load_spec("yolov5n.yaml") == load_spec(Path("models/yolov5n.yaml"))
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {**layout("p2"), "nc": 7}, "我的.yaml")
    assert load_spec("我的.yaml").nc == 7
    assert load_spec("yolov5n.yaml").nc == 80


def test_number_of_classes() -> None:
    assert load_spec("yolov5n.yaml", nc=3).nc == 3
    for wrong in (0, -1, 1.5, True, "3"):
        with pytest.raises(ValueError, match=r"yolov5n.yaml: expected at least one class but got nc="):
            load_spec("yolov5n.yaml", nc=wrong)


def test_reading_imports_no_torch() -> None:
    code = "import sys, models; models.load_spec('yolov5s.yaml'); raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_spec_as_plain_data() -> None:
    data = {**layout("v3-spp"), "activation": "nn.ReLU()"}
    data["backbone"][3] = [-1, 1, "C3", [128, {"attention": {"CBAM": {"kernel_size": 3}}}]]
    for spec in (checked_spec(data), insert(load_spec("yolov5n.yaml"), "CBAM(kernel_size=3)@neck.P3")):
        plain = spec.to_dict()
        assert spec_from_dict(json.loads(json.dumps(plain))) == spec
        assert spec_from_dict(plain).to_dict() == plain


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layers", None), ("layers", []), ("layers", [1]), ("layers", [{}]), ("nc", "80"), ("nc", 0), ("channels", 0),
        ("anchors", [[1]]), ("depth_multiple", float("nan")), ("backbone_rows", 99), ("activation", 5), ("unknown", 1),
    ],
)  # fmt: skip
def test_wrong_stored_specs_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="the stored model spec"):
        spec_from_dict({**load_spec("yolov5n.yaml").to_dict(), field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source", [30]), ("source", []), ("source", ["0"]), ("number", 0), ("module", None), ("args", 5),
        ("options", {1: 2}), ("base_row", "3"), ("extra", 1),
    ],
)  # fmt: skip
def test_wrong_stored_rows_are_refused(field: str, value: object) -> None:
    data = load_spec("yolov5n.yaml").to_dict()
    data["layers"][3][field] = value
    with pytest.raises(ValueError, match="row 3"):
        checked(spec_from_dict(data))
    with pytest.raises(ValueError, match="is not a mapping"):
        spec_from_dict([])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("nc", 0, "x.yaml: nc: expected a positive whole number, at most 100000, but got 0"),
        ("nc", "80", "nc: expected a positive whole number"),
        ("nc", 10**30, "nc: expected a positive whole number"),
        ("depth_multiple", -1, "depth_multiple: expected a positive number"),
        ("width_multiple", float("inf"), "width_multiple: expected a positive number, at most 100, but got inf"),
        ("width_multiple", True, "width_multiple: expected"),
        ("anchors", 0, "anchors: expected one list of w, h pairs a level"),
        ("anchors", [[10, 13], [30]], "anchors: expected one list"),
        ("anchors", [[10, 13, 5]], "anchors: expected one list"),
        ("anchors", [[10, -13]], "anchors: expected one list"),
        ("activation", 3, "activation: expected a text such as"),
        ("backbone", {}, r"backbone: expected a list of rows \[from, number, module, args\] but got {}"),
        ("head", [], "head: expected a list of rows"),
        ("names", ["a"], "unknown key 'names'; known keys: activation, anchors, backbone"),
        (3, 3, "unknown key 3"),
        (
            "inserted",
            [24],
            "inserted: expected the indices of the rows that the base model does not have, from 0",
        ),
        ("inserted", [3, 3], "inserted: expected the indices"),
    ],
)
def test_wrong_keys(key: Any, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_spec({**layout("yolov5"), key: value}, "x.yaml")


@pytest.mark.parametrize("key", ["nc", "anchors", "backbone", "head"])
def test_missing_keys(key: str) -> None:
    data = layout("yolov5")
    del data[key]
    with pytest.raises(ValueError, match=f"expected the keys nc, anchors, backbone, head but {key} is missing"):
        checked_spec(data)


@pytest.mark.parametrize(
    ("row", "written", "message"),
    [
        (4, "C3", r"x.yaml: row 4 \(backbone\[4\]\): expected \[from, number, module, args\].* but got 'C3'"),
        (4, [-1, 3, "C3", [256], 5], "expected .from, number, module, args."),
        (4, [-1, 0, "C3", [256]], r"number: .* but got 0; write \[-1, 1, C3, \[256\]\]"),
        (4, [-1, 1.5, "C3", [256]], r"number: .* but got 1.5; write \[-1, 1, C3, \[256\]\]"),
        (4, [-1, 10**9, "C3", [256]], r"number: .* from 1 to 1000 but got 1000000000"),
        (4, [-1, 3, None, [256]], r"module: expected a name but got None; e.g. \[-1, 3, C3, \[256\]\]"),
        (4, [-1, 3, "C3", 256], r"args: expected a list.* but got 256; write \[-1, 3, C3, \[256\]\]"),
        (4, [7, 3, "C3", [256]], r"from: 7 points to row 7, but only the rows 0 to 3 come before it; write \[-1, 3"),
        (4, [4, 3, "C3", [256]], r"row 4 \(backbone\[4\]\): from: 4 points to row 4, but only the rows 0 to 3"),
        (4, [-9, 3, "C3", [256]], r"from: -9 points to row -5, but only the rows 0 to 3"),
        (16, [[-1, 44], 1, "Concat", [1]], r"row 16 \(head\[6\]\): from: 44 .* write \[\[-1, -1\], 1, Concat, \[1\]\]"),
        (4, ["a", 3, "C3", [256]], r"from: expected the index of a row, or a list of them, but got 'a'; write \[-1"),
        (4, [True, 3, "C3", [256]], "from: expected the index of a row"),
        (4, [[], 3, "C3", [256]], r"from: .* but got an empty list; write \[\[-1\], 3"),
        (0, [0, 1, "Conv", [64]], r"from: expected -1, the image, in the first row but got 0; write \[-1, 1"),
        (4, [-1, 3, "C3", [256, {1: 2}]], "args: expected numbers, texts, lists, or mappings .* but got {1: 2}"),
        (4, [-1, 3, "C3", [float("nan")]], "args: expected numbers"),
        (4, [-1, 3, "C3", [[[[[[[[[[1]]]]]]]]]]], "args: nested more than 8 deep"),
        (24, [[17, 20, 23], 1, "Detect", [80]], r"row 24 \(Detect\): expected the args \[nc, .* but got \[80\]; write"),
        (24, [[17, 20, 23], 1, "Detect", [4, "anchors"]], r"the file's own nc and anchors .* but got \[4"),
        (24, [[17, 20, 23], 1, "Detect", ["nc", [[1, 2]] * 3]], "expected the args"),
        (24, [[17, 20, 23], 1, "Detect", ["nc", "anchors", {"a": 1}]], "expected the args"),
        (24, [[17, 20, 23], 2, "Detect", ["nc", "anchors"]], "expected the args"),
    ],
)  # fmt: skip
def test_wrong_rows(row: int, written: object, message: str) -> None:
    data = layout("yolov5")
    part, index = ("backbone", row) if row < 10 else ("head", row - 10)
    data[part][index] = written
    with pytest.raises(ValueError, match=message):
        checked_spec(data, "x.yaml")


def test_detect_may_repeat_the_files_numbers() -> None:
    data = layout("yolov5")
    data["head"][-1][3] = [80, [[float(x) for x in level] for level in data["anchors"]]]
    assert checked_spec(data) == checked_spec(layout("yolov5"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping with backbone and head, or base and insert, but got None"),
        ("[1, 2]", "expected a mapping"),
        ("a: b: c", "not readable as YAML"),
        ("a: 2001-99-99", "not readable as YAML"),
        ("? [1]\n: 2", "not readable as YAML"),
        ("[" * 800, "not readable as YAML"),
        ("x: !!python/object/apply:os.system ['echo']", "not readable as YAML"),
        ("base: [1]\ninsert: 3", "base: expected the name of a model YAML"),
        ("base: nowhere.yaml\ninsert: 3", "model file 'nowhere.yaml' was not found"),
        ("base: yolov5n.yaml", "expected the keys base, insert but insert is missing"),
        ("base: yolov5n.yaml\ninsert: []\nbackbone: []", "unknown key 'backbone'"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_spec(write(tmp_path, text))


def test_files_that_are_not_text(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ValueError, match="not readable as YAML in UTF-8"):
        load_spec(file)
    for name in ("", ".", "a\0b", "x" * 5000, "yolo5s.yaml", tmp_path):
        with pytest.raises(ValueError, match="was not found"):
            load_spec(name)
    with pytest.raises(ValueError, match=r"nearest: .*yolov5s.yaml"):
        load_spec("yolo5s.yaml")


def test_an_overlay_that_is_its_own_base(tmp_path: Path) -> None:
    insert_rows = "\ninsert: [{after: 3, attention: SE}]"
    write(tmp_path, "base: b.yaml" + insert_rows, "a.yaml")
    write(tmp_path, "base: a.yaml" + insert_rows, "b.yaml")
    with pytest.raises(ValueError, match=r"is its own base: a.yaml -> b.yaml -> a.yaml"):
        load_spec(tmp_path / "a.yaml")


def test_a_value_that_holds_itself(tmp_path: Path) -> None:
    text = yaml.safe_dump(layout("yolov5")).replace("depth_multiple", "x: &a [*a]\ndepth_multiple")
    with pytest.raises(ValueError, match="unknown key 'x'"):
        load_spec(write(tmp_path, text))
    loop: list[Any] = []
    loop.append(loop)
    for row in ([-1, 1, "C3", loop], [loop, 1, "C3", [1]], loop):
        with pytest.raises(ValueError, match="row 3"):
            checked_spec({**layout("yolov5"), "backbone": [*layout("yolov5")["backbone"][:3], row]})


WEIRD = st.one_of(
    *(st.none(), st.booleans(), st.integers(-40, 40), st.integers(), st.floats(), st.text(max_size=5)),
    *(st.binary(max_size=3), st.dates()),
    st.sampled_from(["Conv", "C3", "CBAM", "Detect", "Concat", "nc", "None", "nn.Upsample", 10**400]),
)
NESTED = st.recursive(
    WEIRD,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(st.text(max_size=4), st.integers()), inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    key=st.sampled_from([*layout("yolov5"), "ch", "channel_multiple", "activation", "inserted"]),
    value=NESTED,
    row=st.integers(0, 24),
    column=st.integers(0, 3),
    entry=NESTED,
)
def test_weird_values_give_that_one_error(key: str, value: object, row: int, column: int, entry: object) -> None:
    data = layout("yolov5")
    rows = [data["backbone"], data["head"]][row >= 10]
    rows[row - 10 * (row >= 10)][column] = entry
    for mapping in (data, {**layout("yolov5"), key: value}):
        try:
            spec = checked_spec(mapping, "x.yaml")
        except ValueError as error:
            assert str(error).startswith("x.yaml: ")  # noqa: PT017  (either outcome is right)
        else:
            read = {s for layer in spec.layers for s in layer.source}
            assert read >= set(range(len(spec.layers) - 1))
