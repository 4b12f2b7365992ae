"""Which row is which: exact by base rows, by alignment for lists edited by hand, never by guessing."""

import time

import pytest

from models import insert, load_spec
from models.graph.checked import analyse, checked_spec
from models.spec.model_spec import ModelSpec
from models.weights.match_rows import align
from tests.support.model_layouts import layout


def chain(count: int, name: str = "chain") -> ModelSpec:
    """`count` identical rows, one after the other."""
    rows = [[-1, 1, "Conv", [16, 3, 2]], *([[-1, 1, "Conv", [16, 3, 1]]] * count)]
    head = [[[-1], 1, "Detect", ["nc", "anchors"]]]
    return checked_spec({"nc": 1, "anchors": 1, "backbone": rows, "head": head}, f"{name}{count}.yaml")


def weighted(spec: ModelSpec) -> set[int]:
    """The rows that hold weights."""
    names = ("Concat", "nn.Upsample", "nn.MaxPool2d", "nn.ZeroPad2d", "SimAM")
    return {i for i, layer in enumerate(spec.layers) if layer.module not in names}


def test_a_model_and_itself() -> None:
    for name in ("yolov5", "v3-spp", "p7", "ghost"):
        spec = checked_spec(layout(name))
        matched = align(spec, spec)
        assert all(t == s for t, s in matched.items())
        assert set(matched) >= weighted(spec)


@pytest.mark.parametrize("request_text", ["CoordAtt@neck", "SE@backbone", "CBAM@0", "SimAM@11", "GAM@23"])
def test_inserted_rows_are_passed_over(request_text: str) -> None:
    base = load_spec("yolov5n.yaml")
    spec = insert(base, request_text)
    there = align(base, spec)
    assert {spec.layers[t].base_row: s for t, s in there.items()} == {i: i for i in range(25)}
    assert align(spec, base) == {s: t for t, s in there.items()}


def test_lists_edited_by_hand() -> None:
    base, edited = load_spec("yolov5n.yaml"), load_spec("yolov5n_ca.yaml")
    there = align(base, edited)  # the list has three rows more: 18, 22 and 26
    assert all(s == t - sum(t > i for i in (18, 22, 26)) for t, s in there.items())
    assert set(there) >= weighted(edited) - {18, 22, 26}
    assert align(edited, base) == {s: t for t, s in there.items()}


def test_modules_at_the_same_place_travel_and_others_do_not() -> None:
    base = load_spec("yolov5n.yaml")
    here = insert(base, ["SE@neck.P3", "CBAM@neck.P4", "CBAM@neck.P4", "ECA@backbone.P5"])
    there = insert(base, ["CBAM@neck.P4", "SE@neck.P3,neck.P5", "CBAM@neck.P4", "CBAM@backbone.P5"])
    matched = align(there, here)
    found = {}
    for t, s in matched.items():
        if here.layers[t].base_row is None:
            assert here.layers[t].module == there.layers[s].module
            found[t] = s
    modules = [here.layers[t].module for t in sorted(found)]
    assert modules == ["SE", "CBAM", "CBAM"]
    assert list(found.values()) == sorted(found.values())


def test_another_size_of_an_inserted_module_is_another_module() -> None:
    base = load_spec("yolov5n.yaml")
    here, there = insert(base, "SE(reduction=4)@neck.P3"), insert(base, "SE(reduction=8)@neck.P3")
    assert 18 not in align(there, here)


def test_attention_inside_c3_is_the_same_row() -> None:
    data = layout("yolov5")
    data["backbone"][4][3] = [256, {"attention": "SE"}]
    data["backbone"][6][2] = "C3CBAM"
    assert align(checked_spec(layout("yolov5")), checked_spec(data)) == {i: i for i in range(25)}


def test_a_changed_block_is_the_only_one_left_out() -> None:
    data = layout("yolov5")
    data["backbone"][8][2] = "C3TR"
    matched = align(checked_spec(layout("yolov5")), checked_spec(data))
    assert all(t == s for t, s in matched.items())
    assert weighted(checked_spec(data)) - set(matched) == {8}


def test_connections_decide_between_equal_rows() -> None:
    # Two equal rows in the source, one in the target: which one shows in what reads it.
    def model(rows: list[list]) -> ModelSpec:
        head = [[[-1], 1, "Detect", ["nc", "anchors"]]]
        return checked_spec({"nc": 1, "anchors": 1, "backbone": rows, "head": head})

    stem, twin = [-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 1]]
    source = model([stem, twin, twin, [[-1, 1], 1, "Concat", [1]], [-1, 1, "Conv", [8, 1, 1]]])
    both = model([stem, twin, [-1, 1, "SE", []], twin, [[-1, 1], 1, "Concat", [1]], [-1, 1, "Conv", [8, 1, 1]]])
    assert {t: s for t, s in align(source, both).items() if t in (0, 1, 3, 5)} == {0: 0, 1: 1, 3: 2, 5: 4}
    # Only the second twin reads the first; the single one of the target reads the stem, as the first does.
    long = model([stem, twin, [0, 1, "Conv", [24, 1, 1]], [-2, 1, "Conv", [16, 3, 1]], [[-1, 2], 1, "Concat", [1]]])
    short = model([stem, twin, [0, 1, "Conv", [24, 1, 1]], [[1, 2], 1, "Concat", [1]]])
    assert {t: s for t, s in align(long, short).items() if t < 3} == {0: 0, 1: 1, 2: 2}


def test_where_two_ways_are_equally_good_both_are_shown() -> None:
    message = r"chain2.yaml: two ways to take the weights of chain3.yaml are equally good: row 1 from \d.*; or row 1"
    with pytest.raises(ValueError, match=message) as caught:
        align(chain(3), chain(2))
    assert "Write the model as an overlay (base and insert), which says which row is which" in str(caught.value)


def test_long_lists_of_equal_rows_take_no_time() -> None:
    begin = time.process_time()
    assert align(chain(60), chain(60, "other")) == {i: i for i in range(62)}
    for source, target in ((60, 59), (60, 30), (30, 60)):
        with pytest.raises(ValueError, match="are equally good"):
            align(chain(source), chain(target))
    assert time.process_time() - begin < 2


def test_models_of_another_width_share_no_row() -> None:
    here, there = load_spec("yolov5s_ca.yaml"), load_spec("yolov5n.yaml")
    assert set(align(there, here)) == {len(here.layers) - 1}  # the heads, whose levels then differ
    assert analyse(here)[-1].inputs != analyse(there)[-1].inputs
