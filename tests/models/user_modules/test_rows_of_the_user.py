"""A class that the user wrote, in models/common.py or a file of --module: as a row, by --attention, inside C3."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from models import build_model, common, insert, load_spec
from models.attention import accepted_options, create_attention
from models.freeze import freeze
from models.graph.checked import analyse, checked_spec
from models.graph.module_names import is_attention
from models.insertion.layer_list import layer_list
from models.weights.transfer import match_rows, transfer
from tests.support.model_layouts import layout
from tests.support.user_modules import GATE, forgotten_afterwards, written

MORE = f"""{GATE}

class Down(nn.Module):
    def __init__(self, c1, c2, k=3, s=2):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, k, s, k // 2)

    def forward(self, x):
        return self.conv(x)


class Stage(nn.Module):
    def __init__(self, in_channels, out_channels, n=1, act=True):
        super().__init__()
        self.m = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), *(Gate(out_channels) for _ in range(n)))

    def forward(self, x):
        return self.m(x)


class Sum(nn.Module):
    def __init__(self, c1, c2):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(c, c2, 1) for c in c1)

    def forward(self, maps):
        return sum(conv(x) for conv, x in zip(self.convs, maps))


class Values(nn.Module):
    def __init__(self, channels=None, share=0.5):
        super().__init__()
        import torch
        self.share = torch.tensor(share).item()

    def forward(self, x):
        return x * self.share


class Grows(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 1)

    def forward(self, x):
        return self.conv(x)


class Pair(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return x, x


class Square(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return x.transpose(2, 3)


class Needs(nn.Module):
    def __init__(self, channels, k):
        super().__init__()

    def forward(self, x):
        return x


class Plain:
    pass


class SE(nn.Module):
    def __init__(self, channels):
        super().__init__()


class Focus(nn.Module):
    def __init__(self, c1, c2):
        super().__init__()


class C3SE(nn.Module):
    def __init__(self, c1, c2, n=1):
        super().__init__()
"""


@pytest.fixture
def load(tmp_path: Path):
    with forgotten_afterwards():
        yield partial(written, tmp_path)


def with_row(index: int, row: list) -> dict:
    """YOLOv5n's layers for 3 classes with another row."""
    data = layout("yolov5", 3)
    backbone = len(data["backbone"])
    data["backbone" if index < backbone else "head"][index - (0 if index < backbone else backbone)] = row
    return data


def built(index: int, row: list) -> nn.Module:
    return build_model(checked_spec(with_row(index, row), "own.yaml"))


def test_the_recipe_of_contributing_works_and_is_short(load, root):
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    recipe = text.split("```python\n", 1)[1].split("```", 1)[0]
    assert len(recipe.strip().splitlines()) < 20
    load(recipe)
    model = build_model(insert(load_spec("yolov5n.yaml"), "MyGate(r=8)@neck.P3,neck.P4"))
    assert model.model[18].fc[0].out_channels == 64 // 8


@pytest.mark.parametrize(
    ("args", "r"), [([], 16), ([1024], 16), ([1024, 8], 8), ([{"r": 4}], 4), ([1024, {"r": 2}], 2)]
)
def test_a_row_takes_the_channels_and_options_in_every_form(load, args, r):
    load()
    model = built(9, [-1, 1, "Gate", args])
    channels = analyse(model.spec)[8].channels
    assert model.model[9].fc[0].weight.shape == (channels // r, channels, 1, 1)
    expected = {f"model.9.fc.{i}.{name}" for i in (0, 2) for name in ("weight", "bias")}
    assert {key for key in model.state_dict() if key.startswith("model.9.")} == expected


def test_a_class_in_models_common_is_found_wherever_it_stands(monkeypatch):
    class Late(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.scale = nn.Parameter(torch.full((channels, 1, 1), 2.0))

        def forward(self, x):
            return x * self.scale

    with pytest.raises(ValueError, match=r"unknown module: row 9 'Late'.*own goes into models/common.py or a file"):
        built(9, [-1, 1, "Late", []])
    monkeypatch.setattr(common, "Late", Late, raising=False)
    model = built(9, [-1, 1, "Late", []])
    x = torch.rand(1, model.model[9].scale.shape[0], 4, 4)
    assert torch.equal(model.model[9](x), 2 * x)
    assert insert(load_spec("yolov5n.yaml"), "Late@neck.P3").layers[18].module == "Late"


def test_inserted_with_identity_start_changes_nothing_and_learns(load):
    load()
    torch.manual_seed(1)
    base = build_model(load_spec("yolov5n.yaml"))
    model = build_model(insert(base.spec, "Gate(r=4)@neck", start="identity"))
    report = transfer(model, base)
    assert report.count("unused") == 0
    assert report.count("loaded") + report.count("shifted") == len(base.state_dict())
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        for one, other in zip(model.eval().raw(images), base.eval().raw(images), strict=True):
            assert torch.equal(one, other)
    sum(level.square().sum() for level in model.train().raw(images)).backward()
    gate = model.model[18]
    assert gate.identity_strength.grad.abs() > 0
    x = torch.rand(1, 64, 5, 7)
    with torch.no_grad():
        gate.identity_strength.fill_(0.25)
    by_hand = 0.75 * x + 0.25 * x * gate.fc(x.mean((2, 3), keepdim=True))
    torch.testing.assert_close(gate(x), by_hand)
    torch.testing.assert_close(copy.deepcopy(gate)(x), by_hand)


def test_both_starts_are_the_same_row(load):
    load()
    spec = load_spec("yolov5n.yaml")
    paper, identity = (insert(spec, "Gate@neck.P3", start=start) for start in ("paper", "identity"))
    assert match_rows(paper, identity)[18] == 18
    model = build_model(paper)
    report = transfer(build_model(identity), model)
    assert [e.target for e in report.entries if e.fate == "new"] == ["model.18.identity_strength"]


def test_inside_c3_and_frozen_by_name(load):
    load()
    for row in ([-1, 3, "C3Gate", [128]], [-1, 3, "C3", [128, {"attention": {"Gate": {"r": 2}}}]]):
        model = built(2, row)
        attention = model.model[2].m[0].attention
        assert type(attention).__name__ == "Gate"
        frozen = freeze(model, ["!attention"])
        assert frozen.total - frozen.tensors == 4 * len(model.model[2].m)
        assert all(p.requires_grad for p in attention.parameters())
    model = build_model(insert(load_spec("yolov5n.yaml"), "Gate@neck.P3"))
    assert freeze(model, ["Gate"]).rows == {18}
    assert is_attention("Gate")


def test_blocks_say_channels_and_stride_by_what_they_make(load):
    load(MORE)
    graph = analyse(checked_spec(with_row(3, [-1, 1, "Down", [256]]), "own.yaml"))
    assert (graph[3].channels, graph[3].stride) == (64, 8)
    stock = analyse(checked_spec(layout("yolov5", 3), "stock.yaml"))
    assert [row.channels for row in graph] == [row.channels for row in stock]
    stage = built(2, [-1, 9, "Stage", [128]]).model[2]
    assert len(stage.m) == 1 + 3  # a third of 9 by the depth multiple
    joined = built(12, [[-1, 6], 1, "Sum", [512]])
    assert [conv.in_channels for conv in joined.model[12].convs] == [128, 128]
    assert joined.eval()(torch.rand(1, 3, 64, 64)).shape[1] == (64 + 16 + 4) * 3
    kept = built(9, [-1, 1, "Down", [{"s": 1}]])
    assert kept.model[9].conv.out_channels == 256


def test_a_class_that_reads_values_when_built_is_tried_out_with_values(load):
    load(MORE)
    row = built(9, [-1, 1, "Values", [{"share": 0.25}]]).model[9]
    assert torch.equal(row(torch.ones(1, 8, 2, 2)), torch.full((1, 8, 2, 2), 0.25))
    base = build_model(load_spec("yolov5n.yaml"))
    report = transfer(build_model(insert(base.spec, "Values@neck.P3")), base)  # matching rows asks for its tensors too
    assert report.count("unused") == 0


def test_trying_out_leaves_the_random_state_alone(load):
    load(MORE)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    analyse(checked_spec(with_row(9, [-1, 1, "Values", []]), "own.yaml"))
    analyse(checked_spec(with_row(9, [-1, 1, "Gate", []]), "own.yaml"))
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["Grows", []], r"row 9 \(Grows\).*keep its map, but of 256 channels it makes 512 at stride 1; .*\(c1, c2"),
        (["Pair", []], r"Pair.forward: expected to get one map \(B, C, H, W\) but got a tuple"),
        (["Square", []], "Square.forward makes 64x32 of 32x64; expected the same size"),
        (["Down", [1024, 3, 3]], "Down.forward makes 11x22 of 32x64"),
        (["Down", [1024, {"kk": 3}]], r"do not fit Down\(c1, c2, k, s\): got an unexpected keyword argument 'kk'"),
        (["Needs", []], "Needs has no default for its option 'k'; give it"),
        (["Gate", [{"q": 3}]], "Gate has no option 'q'; it takes start, r"),
        (["Gate", [1024, 8, 3]], "Gate takes at most 1 arguments after the channels"),
        (["Gate", [512]], "the channels 512 become 128 .* but the row it reads has 256"),
        (["Gate", [{"r": 0}]], r"fails on a map \(1, 256, 32, 64\): ZeroDivisionError.* \(line 8 of own.py\)"),
        (["Plain", []], r"row 9 \(Plain\): own.py: class Plain is no module; write `class Plain\(nn.Module\):`"),
        (["SE", []], r"row 9 \(SE\): own.py: class SE: the name is taken by the module SE of this project; .*MySE"),
        (["Focus", [1024]], "own.py: class Focus: the name is taken by a block of this project"),
        (["C3SE", [1024]], "own.py: class C3SE: the name is taken by C3 with SE inside"),
        (["Gato", []], "unknown module: row 9 'Gato' .nearest known: Gate"),
    ],
)
def test_a_class_that_keeps_no_contract_is_refused_with_the_reason(load, row, message):
    load(MORE)
    with pytest.raises(ValueError, match=message):
        built(9, [-1, 1, *row])


@pytest.mark.parametrize(
    ("request_text", "message"),
    [
        ("Down@neck.P3", r'Down takes the channels of input and output.*@register\("Down"\) above the class'),
        ("SE@neck.P3", "own.py: class SE: the name is taken by the module SE"),
        ("Gato@neck.P3", "did you mean 'Gate'.* own goes into models/common.py or a file named with --module"),
        ("Plain@neck.P3", "class Plain is no module"),
        ("Grows@neck.P3", r"row 18 \(Grows\).*has to keep its map"),
    ],
)
def test_insertions_are_refused_with_the_reason(load, request_text, message):
    load(MORE)
    with pytest.raises(ValueError, match=message):
        insert(load_spec("yolov5n.yaml"), request_text)


def test_registered_classes_need_no_base_class(load):
    load(
        f"""{GATE}
from models.attention import register


@register("Fork")
class ForkGate(nn.Module):
    def __init__(self, inp, oup, reduction=32):
        super().__init__()
        self.gate = Gate(inp, reduction)

    def forward(self, x):
        return self.gate(x)
"""
    )
    assert accepted_options("Fork") == {"reduction": 32}
    model = built(9, [-1, 1, "Fork", [1024, 1024, 64]])
    assert model.model[9].gate.fc[0].out_channels == 256 // 64
    inserted = build_model(insert(load_spec("yolov5n.yaml"), "Fork@neck.P4", start="identity"))
    assert type(inserted.model[21]).__name__ == "ForkGate"


def test_a_class_with_a_start_of_its_own_gets_it(load):
    load(GATE.replace("r=16", "r=16, *, start='paper'").replace("hidden =", "self.start = start\n        hidden ="))
    module = create_attention("Gate", 8, start="identity")
    assert module.start == "identity"
    assert not hasattr(module, "identity_strength")
    assert accepted_options("Gate") == {"r": 16}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@register\nclass A(nn.Module): ...", r'expected a name, @register\("A"\)'),
        ('@register("A")\ndef a(): ...', "expected a class of nn.Module"),
        ('@register("SE")\nclass A(nn.Module): ...', "'SE' is already models.attention.se.SE; choose another name"),
        ('@register("SELayer")\nclass A(nn.Module): ...', "already an alias of 'SE'; choose another name"),
    ],
)
def test_register_says_what_it_wants(load, text, message):
    with pytest.raises(ValueError, match=message):
        load(f"from torch import nn\nfrom models.attention import register\n\n{text}\n")


def test_a_written_layer_list_gives_the_same_model(load, tmp_path):
    file = load()
    spec = insert(load_spec("yolov5n.yaml"), "Gate(r=4)@neck.P3")
    (tmp_path / "written.yaml").write_text(layer_list(spec), encoding="utf-8")
    assert f"modules: [{file}]" in layer_list(spec)
    with forgotten_afterwards():
        again = load_spec(tmp_path / "written.yaml")
    assert [(x.module, x.options, x.base_row) for x in again.layers] == [
        (x.module, dict(x.options), x.base_row) for x in spec.layers
    ]
