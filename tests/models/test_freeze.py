"""`--freeze`: which rows, unmoved by insertions; what is trained; norms that stay in eval mode."""

import copy

import pytest
import torch
from torch import nn

from models import build_model, insert, load_spec
from models.freeze import freeze, frozen_rows
from models.graph.checked import checked_spec
from models.spec.model_spec import ModelSpec
from tests.support.model_layouts import layout


@pytest.fixture(scope="module")
def base() -> ModelSpec:
    return load_spec("yolov5n.yaml")


@pytest.fixture(scope="module")
def wide(base: ModelSpec) -> ModelSpec:
    """SE behind row 4 (now 5), CBAM behind row 17 (now 19)."""
    return insert(base, ["SE@backbone.P3", "CBAM@neck.P3"])


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        ([], []),
        (["0"], []),
        ([0], []),
        (["3"], [0, 1, 2]),
        ([3], [0, 1, 2]),
        (["0", "1", "2"], [0, 1, 2]),
        (["1", "5"], [1, 5]),
        (["1,5"], [1, 5]),
        (["3-5"], [3, 4, 5]),
        (["0-2", "9"], [0, 1, 2, 9]),
        (["neck", "9"], range(9, 24)),
        (["backbone"], range(10)),
        (["neck"], range(10, 24)),
        (["head"], range(10, 25)),
        (["detect"], [24]),
        (["backbone,!9"], range(9)),
        (["10", "!3-8"], [0, 1, 2, 9]),
        (["!detect"], range(24)),
        (["!neck", "!detect"], range(10)),
        (["attention"], []),
        (["backbone.P3"], [4]),
        (["backbone.sppf", "neck.P5"], [9, 23]),
        (["SPPF"], [9]),
        (["Concat"], [12, 16, 19, 22]),
        (["24"], range(24)),
    ],
)
def test_rows_of_the_base(base: ModelSpec, wanted: list[str | int], rows: list[int]) -> None:
    assert frozen_rows(base, wanted) == set(rows)


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        (["10"], [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]),  # the ten rows of the base, not the module between them
        (["3-5"], [3, 4, 6]),
        (["4", "17"], [4, 18]),
        (["backbone"], range(11)),
        (["backbone,!attention"], [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]),
        (["attention"], [5, 19]),
        (["CBAM"], [19]),
        (["CBAMBlock"], [19]),  # the name that forks use
        (["!attention"], set(range(27)) - {5, 19}),
        (["backbone.P3"], [4]),
        (["neck.P3"], [18]),
        (["detect"], [26]),
    ],
)
def test_an_insertion_moves_nothing(wide: ModelSpec, wanted: list[str], rows: list[int]) -> None:
    assert frozen_rows(wide, wanted) == set(rows)


def test_numbers_mean_the_base_whatever_is_inserted(base: ModelSpec) -> None:
    for request in ("SE@backbone", "SE@neck", "SE@0", "SE@23"):
        spec = insert(base, request)
        for count in (1, 10, 24):
            frozen = frozen_rows(spec, [str(count)])
            assert [spec.layers[row].base_row for row in sorted(frozen)] == list(range(count))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["26"], "--freeze 26: the base of yolov5n.yaml has 25 rows"),
        (["3", "25"], "--freeze 25: the base of yolov5n.yaml has the rows 0 to 24"),
        (["5-3"], "--freeze 5-3: the base of yolov5n.yaml has the rows 0 to 24; write 3-5"),
        (
            ["spine"],
            r"--freeze spine: expected a number of rows, a range such as 0-9, one of backbone, neck, head.*: Conv, C",
        ),
        (["neck.P9"], "--freeze neck.P9"),
        (["CBAM"], "--freeze CBAM"),
        (["-1"], "--freeze -1"),
        (["!"], "--freeze : expected"),
        ([1.5], "--freeze 1.5"),
    ],
)
def test_words_that_name_no_row(base: ModelSpec, wanted: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frozen_rows(base, wanted)


def small(rows: list[list] | None = None) -> ModelSpec:
    data = layout("yolov5", 2)
    for row, value in rows or []:
        data["backbone"][row] = value
    return checked_spec(data)


def test_frozen_rows_get_no_gradient_and_the_others_do() -> None:
    model = build_model(insert(small(), "SE@backbone.P3"))
    result = freeze(model, ["backbone", "!attention"])
    sum(y.square().mean() for y in model(torch.rand(2, 3, 64, 64))).backward()
    for row, module in enumerate(model.model):
        for parameter in module.parameters():
            assert (parameter.grad is None) == (row in result.rows)
            assert parameter.requires_grad != (row in result.rows)
    assert str(result) == f"frozen: rows 0-4, 6-10, {result.tensors} of {result.total} parameter tensors"
    assert 0 < result.tensors < result.total == len(list(model.parameters()))


def test_frozen_norms_stay_in_eval_mode() -> None:
    model = build_model(small())
    freeze(model, ["10"])
    before = copy.deepcopy(model.state_dict())
    for trained in (model, copy.deepcopy(model)):
        trained.train()
        trained(torch.rand(2, 3, 64, 64))
        after = trained.state_dict()
        for key, tensor in after.items():
            if key.endswith(("running_mean", "running_var", "num_batches_tracked")):
                assert torch.equal(tensor, before[key]) == (int(key.split(".")[1]) < 10), key
    freeze(model, ["0"])
    model.train()
    assert all(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert all(p.requires_grad for p in model.parameters())


def test_attention_inside_c3() -> None:
    model = build_model(small([(4, [-1, 6, "C3", [256, {"attention": "SE"}]])]))
    inside = {name for name, _ in model.named_parameters() if ".attention." in name}
    assert len(inside) == 4  # two bottlenecks, two weights each

    def frozen() -> set[str]:
        return {name for name, p in model.named_parameters() if not p.requires_grad}

    freeze(model, ["backbone"])
    assert inside < frozen()
    freeze(model, ["backbone,!attention"])
    assert inside.isdisjoint(frozen())
    assert "model.4.cv1.conv.weight" in frozen()
    freeze(model, ["attention"])
    assert frozen() == inside
    freeze(model, ["!attention"])
    assert {name for name, p in model.named_parameters() if p.requires_grad} == inside


def test_nothing_left_to_train() -> None:
    model = build_model(small())
    with pytest.raises(ValueError, match="--freeze 25: nothing is left to train"):
        freeze(model, ["25"])
    with pytest.raises(ValueError, match="--freeze !attention: nothing is left to train"):
        freeze(model, ["!attention"])


def test_a_warm_start_trains_what_was_inserted_and_attention_wherever_it_is() -> None:
    inner = small([(4, [-1, 6, "C3", [256, {"attention": "SE"}]]), (9, [-1, 1, "SE", []])])
    for spec, trained in ((insert(small(), "CBAM@backbone.P3,neck.P4"), {5, 22}), (inner, {4, 9})):
        model = build_model(spec)
        result = freeze(model, ["0"], only_inserted=True)
        names = {name for name, p in model.named_parameters() if p.requires_grad}
        assert {int(name.split(".")[1]) for name in names} == trained
        assert all(name.startswith("model.4.m.") for name in names if name.startswith("model.4."))
        assert result.tensors == result.total - len(names)
        frozen = [m for m in model.train().modules() if isinstance(m, nn.BatchNorm2d)]
        assert not any(m.training for m in frozen)  # neither module has a norm of its own
        freeze(model, ["0"])  # the thaw
        assert all(p.requires_grad for p in model.parameters())
        assert all(m.training for m in model.train().modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize(
    ("request_text", "wanted", "message"),
    [
        (None, ["0"], "--thaw-after: expected inserted modules to train in model, but it has none; add --attention"),
        ("SimAM", ["0"], "--thaw-after: .* but its attention modules have no parameters"),
        ("SE", ["SE"], "--freeze SE: nothing is left to train in the warm start of --thaw-after"),
    ],
)
def test_a_warm_start_with_nothing_to_train(request_text: str | None, wanted: list[str], message: str) -> None:
    model = build_model(insert(small(), request_text) if request_text else small())
    with pytest.raises(ValueError, match=message):
        freeze(model, wanted, only_inserted=True)


def test_what_was_done_in_words() -> None:
    assert str(freeze(build_model(small()), [])) == "nothing is frozen"
