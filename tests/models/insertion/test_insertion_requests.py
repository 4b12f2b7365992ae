"""Insertion as users write it: the text of a request, overlays, the written layer list, the command line."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from models import build_model, insert, load_spec
from models.graph.checked import analyse, checked_spec
from models.insertion.__main__ import main
from models.insertion.insert import Insertion, each_place, parse_request
from models.insertion.layer_list import layer_list
from models.insertion.places import places
from models.spec.model_spec import ModelSpec
from tests.support.model_layouts import FACTS, layout


@pytest.fixture(scope="module")
def base() -> ModelSpec:
    return load_spec("yolov5n.yaml")


def rows(spec: ModelSpec) -> list[tuple[Any, ...]]:
    return [(x.source, x.number, x.module, x.args, dict(x.options), x.base_row) for x in spec.layers]


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
    message = r"--attention .*: expected Name, Name@place,place or Name\(option=value\)@p"
    with pytest.raises(ValueError, match=message) as caught:
        parse_request(text)
    assert "<" not in str(caught.value).removeprefix(f"--attention {text!r}")  # no objects, no <unknown> file


@pytest.mark.parametrize(
    ("text", "corrected"),
    [
        ("Timm(name=eca)@neck.P4", "Timm(layer='eca')@neck.P4"),
        ("Timm(layer=eca, kernel_size=[3, 5])", "Timm(layer='eca', kernel_size=[3, 5])"),
        ("CBAM(variant=authors)@neck.P3,17", "CBAM(variant='authors')@neck.P3,17"),
    ],
)
def test_text_without_quotes_is_given_back_with_them(text: str, corrected: str) -> None:
    with pytest.raises(ValueError, match="is no number, text or list: text needs quotes") as caught:
        parse_request(text)
    assert f'try --attention "{corrected}")' in str(caught.value)
    assert ("Timm's option is called layer" in str(caught.value)) == ("name" in text)
    parse_request(corrected)


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


def test_the_documented_overlay_and_requests(tmp_path: Path, root: Path) -> None:
    text = (root / "docs" / "insertion.md").read_text(encoding="utf-8")
    file = tmp_path / "documented.yaml"
    file.write_text(text.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    assert [x.module for x in load_spec(file).layers if x.base_row is None] == ["SE", "CBAM", "CBAM"]
    table = text.split("| request | meaning |")[1].split("\n\n")[0]
    requests = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    assert len(requests) == 6
    spec = load_spec("yolov5s.yaml")
    for request in requests:
        for one in each_place(spec, request):
            insert(spec, one)


def test_layer_list_reads_back_as_the_same_model(base: ModelSpec, tmp_path: Path) -> None:
    specs = [
        base,
        insert(base, ["CBAM(kernel_size=3, residual=False)@neck", "Timm(layer='eca')@0"]),
        insert(base, Insertion("SE", ("neck.P3",), readers=(18,))),
        *(checked_spec(layout(name), name) for name in FACTS),
        checked_spec({**layout("yolov5"), "ch": 1, "channel_multiple": 4, "activation": "nn.Hardtanh(0, 1)"}),
    ]
    for spec in specs:
        text = layer_list(spec)
        again = checked_spec(yaml.safe_load(text), spec.file)
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
