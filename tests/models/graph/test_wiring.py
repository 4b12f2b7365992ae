"""No layer list with a forgotten index builds in silence, and no right one is refused."""

import itertools
import json
import logging
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from models import build_model, insert, load_spec
from models.check import main
from models.graph.checked import checked_spec
from models.graph.wiring import Verdict, corrected, judge
from models.insertion.insert import insert_after
from models.insertion.layer_list import layer_list
from models.model_yaml import FOLDER
from models.spec.model_spec import IMAGE, LayerSpec, ModelSpec
from models.spec.parse_layer_list import parse_spec
from models.spec.parse_stored import spec_from_dict
from tests.support.model_layouts import FACTS, VARIANTS, layout, variant

CASES = FOLDER.parents[1] / "shared" / "cases"
MODULES = {"CBAM": (), "SE": (), "CoordAtt": (), "C3CBAM": (256,)}


class Inserted(NamedTuple):
    """A stock list with rows inserted by hand, before anything is renumbered or after."""

    right: ModelSpec
    own: list[int | None]  # the stock row that each row is
    forgettable: list[tuple[int, int, int]]  # row, position in its `from`, the index before the insertion


def inserted(base: ModelSpec, places: tuple[int, ...], modules: list[str]) -> Inserted:
    right = base
    for place, module in sorted(zip(places, modules, strict=True), reverse=True):
        right = insert_after(right, place, LayerSpec((), 1, module, MODULES[module]))
    own = [row for stock in range(len(base.layers)) for row in [stock, *[None] * places.count(stock)]]
    right = replace(right, layers=tuple(replace(x, base_row=i) for i, x in enumerate(right.layers)))  # as read by hand
    forgettable = [
        (row, position, before)
        for row, stock in enumerate(own)
        if stock is not None
        for position, before in enumerate(base.layers[stock].source)
        if (before != stock - 1 or stock == len(base.layers) - 1) and before != right.layers[row].source[position]
    ]
    return Inserted(right, own, forgettable)


def forgotten(case: Inserted, indices: tuple[tuple[int, int, int], ...]) -> ModelSpec:
    layers = list(case.right.layers)
    for row, position, before in indices:
        source = [*layers[row].source]
        source[position] = before
        layers[row] = replace(layers[row], source=tuple(source))
    return replace(case.right, layers=tuple(layers))


def is_stock(spec: ModelSpec, own: list[int | None], base: ModelSpec) -> bool:
    """Whether each row reads what it reads in the base, through inserted rows or not, and every row is read."""

    def stock(row: int) -> int:
        while row != IMAGE and own[row] is None:
            row = spec.layers[row].source[0]
        return row if row == IMAGE else own[row]

    read = {source for layer in spec.layers for source in layer.source}
    return read >= set(range(len(spec.layers) - 1)) and all(
        tuple(map(stock, layer.source)) == base.layers[own[row]].source
        for row, layer in enumerate(spec.layers)
        if own[row] is not None
    )


def check(case: Inserted, base: ModelSpec, indices: tuple[tuple[int, int, int], ...]) -> str:
    """Judge one list against what is known of it, and its correction too; how it was judged."""
    spec = forgotten(case, indices)
    verdict = judge(spec)
    if not indices:
        assert not verdict.wrong
        assert not verdict.doubtful
        return "right"
    assert verdict.wrong or verdict.doubtful
    right = is_stock(spec, case.own, base)
    # What is refused though each row reads what it should is a level whose attention Detect passes by.
    assert not right or all(r.row == len(spec.layers) - 1 and " past " in r.problem for r in verdict.wrong)
    assert right or verdict.wrong
    fixed = corrected(spec, verdict)
    assert is_stock(fixed, case.own, base)
    assert not judge(fixed).wrong
    return "error" if verdict.wrong else "warning"


def all_lists(base: ModelSpec, rows: int, seed: int) -> Iterator[tuple[Inserted, tuple[tuple[int, int, int], ...]]]:
    """Every set of places, a module drawn for each, and every subset of the indices that may be forgotten."""
    drawn = random.Random(seed)
    for places in itertools.combinations_with_replacement(range(len(base.layers) - 1), rows):
        case = inserted(base, places, drawn.choices(list(MODULES), k=rows))
        for count in range(len(case.forgettable) + 1):
            for indices in itertools.combinations(case.forgettable, count):
                yield case, indices


def test_two_thousand_lists_with_forgotten_indices() -> None:
    drawn, judged = random.Random(26), {"right": 0, "warning": 0, "error": 0}
    bases = [checked_spec(layout(name)) for name in FACTS]
    for _ in range(2000):
        base, rows = drawn.choice(bases), drawn.choice([1, 2, 3])
        places = tuple(sorted(drawn.choices(range(len(base.layers) - 1), k=rows)))
        case = inserted(base, places, drawn.choices(list(MODULES), k=rows))
        indices = tuple(x for x in case.forgettable if drawn.random() < drawn.choice([0, 0.3, 0.7]))
        judged[check(case, base, indices)] += 1
    assert min(judged.values()) > 20
    assert judged["error"] > 1000


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rows"), [*((n, 1) for n in FACTS), ("yolov5", 2), ("p2", 2), ("yolov5", 3)])
def test_every_list_with_forgotten_indices(name: str, rows: int) -> None:
    base, judged = checked_spec(layout(name)), {"right": 0, "warning": 0, "error": 0}
    lists = all_lists(base, rows, seed=26)
    if (name, rows) == ("p2", 2):
        lists = itertools.islice(lists, 0, None, 10)
    for case, indices in lists:
        judged[check(case, base, indices)] += 1
    print(name, rows, judged)
    assert judged["error"]


@pytest.mark.parametrize("name", [*FACTS, *VARIANTS])
def test_every_stock_list_is_recognised(name: str) -> None:
    spec = parse_spec(layout(name) if name in FACTS else variant(name))
    verdict = judge(spec)
    assert verdict.graph is not None
    assert verdict.graph.sources == tuple(layer.source for layer in spec.layers)
    assert verdict == Verdict(verdict.graph)


def test_every_list_in_models_is_right() -> None:
    for file in FOLDER.rglob("*.yaml"):
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        if "backbone" in data:
            verdict = judge(parse_spec(data))
            assert verdict.graph is not None, file
            assert (verdict.wrong, verdict.doubtful) == ((), ()), file


@pytest.mark.skipif(not CASES.is_dir(), reason="the wirings taken from forks are not beside this checkout")
def test_wirings_of_forks() -> None:
    cases = json.loads((CASES / "fork_wirings.json").read_text(encoding="utf-8"))
    assert len(cases) == 20
    for case in cases:
        data = layout("yolov5", 4)
        stock = [*data["backbone"], *data["head"]]
        rows = [[s, *(stock[own][1:] if own is not None else [1, "CBAM", []])] for s, own in case["rows"]]
        data["backbone"], data["head"] = rows[:1], rows[1:]
        if case["right"] and not case["bypassed"]:
            build_model(checked_spec(data))
            continue
        with pytest.raises(ValueError, match="not wired as in YOLOv5 P3 to P5") as caught:
            checked_spec(data)
        named = {
            int(line.split("row ")[1].split(":")[0]) for line in str(caught.value).split("\n")[1:-1] if ": [" in line
        }
        assert named >= set(case["differs"])
        if case["right"]:
            assert named == {len(rows) - 1}
            assert all(
                f"past row {row} (CBAM), which would not reach it" in str(caught.value) for row in case["bypassed"]
            )


def by_hand(row: int, module: str, indices: dict[int, Any]) -> str:
    """yolov5n.yaml with a row inserted and some rows' `from` changed by their new numbers; comments left alone."""
    lines = (FOLDER / "yolov5n.yaml").read_text(encoding="utf-8").splitlines()
    rows = [i for i, line in enumerate(lines) if line.startswith("  - [") and "," in line and "# P" not in line]
    lines.insert(rows[row], f"  - [-1, 1, {module}, []]")
    at = [i + (i >= rows[row]) for i in rows]
    at.insert(row, rows[row])
    for number, written in indices.items():
        old = yaml.safe_load(lines[at[number]])[0][0]
        lines[at[number]] = lines[at[number]].replace(str(old), str(written), 1)
    return "\n".join(lines) + "\n"


WRONG_BY_HAND = {
    **{f"detect_only_after_{place}": by_hand(place + 1, "CBAM", {25: [18, 21, 24]}) for place in (2, 4, 6, 9, 13)},
    **{f"nothing_after_{place}": by_hand(place + 1, "SE", {}) for place in (0, 4, 9, 12, 16, 17, 22, 23)},
}


@pytest.mark.parametrize("name", WRONG_BY_HAND)
def test_the_corrected_file_builds_and_is_the_right_graph(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, place = tmp_path / "my list.yaml", int(name.rpartition("_")[2])
    file.write_text(WRONG_BY_HAND[name], encoding="utf-8")
    with pytest.raises(ValueError, match=r"python -m models.check --fix '.*my list.yaml' writes the correct") as caught:
        load_spec(file)
    lines = file.read_text(encoding="utf-8").splitlines()
    for row in str(caught.value).splitlines()[1:-1]:
        if row.startswith("  line "):
            number, old = row.removeprefix("  line ").split(", row ", 1)
            assert (
                lines[int(number) - 1].split("  #")[0].strip(" -")
                == old.split(": ", 1)[1].split(" -> ")[0].split("  (")[0]
            )
    assert main(["--fix", str(file)]) == 1
    fixed = tmp_path / "my list.fixed.yaml"
    assert f"wrote {fixed}" in capsys.readouterr().out
    module = "CBAM" if name.startswith("detect") else "SE"
    expected = insert(load_spec("yolov5n.yaml"), f"{module}@{place}")
    spec = load_spec(fixed)
    assert [(x.source, x.module, x.args) for x in spec.layers] == [
        (x.source, x.module, x.args) for x in expected.layers
    ]
    commented = [
        line for line in fixed.read_text(encoding="utf-8").splitlines() if line.startswith("  - [") and "#" in line
    ]
    numbers = [int(line.split("#")[1].split(":")[0]) for line in commented if "# P" not in line]
    assert numbers == [row for row in range(26) if row != place + 1]
    assert file.read_text(encoding="utf-8") == WRONG_BY_HAND[name]
    assert main(["--fix", str(file)]) == 1  # what is there already is left alone
    assert "File exists" in capsys.readouterr().out


def test_three_rows_at_the_neck_are_read_by_detect_and_not_deleted() -> None:
    data = layout("yolov5")
    for row in (24, 21, 18):
        data["head"].insert(row - 10, [-1, 1, "CBAM", []])
    data["head"][-1][0] = [18, 21, 24]
    with pytest.raises(ValueError, match=r"row 27: \[\[18, 21, 24\].* -> \[\[18, 22, 26\]") as caught:
        checked_spec(data)
    assert "row 26: [-1, 1, CBAM, []]  (is read by no later row" in str(caught.value)
    assert "delete" not in str(caught.value)


def test_an_inserted_row_that_names_its_input_is_the_one_that_is_wrong() -> None:
    data = layout("yolov5")
    data["head"][-1:] = [*([row, 1, "SE", []] for row in (17, 20, 22)), [[24, 25, 26], 1, "Detect", ["nc", "anchors"]]]
    with pytest.raises(
        ValueError, match=r"a row is not wired .*\n  row 26: \[22, 1, SE, \[\]\] -> \[23, 1, SE, \[\]\]"
    ):
        checked_spec(data)
    data["head"][-2][0] = 23
    build_model(checked_spec(data))


def half_renumbered(free: bool) -> dict[str, Any]:
    data = layout("yolov5", 3)
    data["backbone"].insert(7, [-1, 1, "CBAM", []])
    data["head"][-1][0] = [18, 21, 24]
    if free:
        for row in (20, 23):
            data["head"][row - 11][3] = [1, {"wiring": "free"}]
    return data


def messages(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.name == "models.wiring")


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_meant_is_marked_and_stays_marked(
    whole: bool, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    data = {**half_renumbered(False), "wiring": "free"} if whole else half_renumbered(True)
    file = tmp_path / f"{'whole' if whole else 'rows'}.yaml"
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        spec = load_spec(file)
    assert f"{file.name}: marked `wiring: free`, so it is built as it stands:\n  line " in messages(caplog)
    assert "row 20: [[-1, 14], 1, Concat, [1" in messages(caplog)
    assert "row 23: [[-1, 10], 1, Concat, [1" in messages(caplog)
    build_model(spec)
    assert spec_from_dict(spec.to_dict()) == spec
    written = tmp_path / "written.yaml"
    written.write_text(layer_list(insert(spec, "SE@24")), encoding="utf-8")
    assert ("wiring: free" in written.read_text(encoding="utf-8").split("backbone:")[0]) == whole
    assert [x.source for x in load_spec(written).layers] == [x.source for x in insert(spec, "SE@24").layers]
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(f"base: {file.name}\ninsert: [{{after: neck.P3, attention: SE}}]", encoding="utf-8")
    build_model(load_spec(overlay))


def test_a_mark_on_one_row_leaves_the_others_checked() -> None:
    data = half_renumbered(True)
    data["head"][23 - 11][3] = [1]
    with pytest.raises(ValueError, match=r"a row is not wired as in .*:\n  row 23: ") as caught:
        checked_spec(data)
    assert "row 20" not in str(caught.value)
    data["head"][23 - 11][3] = [1, {"wiring": "fre"}]
    with pytest.raises(ValueError, match=r"row 23 \(head\[12\]\): wiring: expected free, .* but got 'fre'"):
        checked_spec(data)


def test_detect_may_pass_attention_by_where_it_is_marked() -> None:
    data = layout("yolov5", 3)
    data["head"].insert(8, [-1, 1, "SE", []])
    data["head"][-1] = [[17, 21, 24], 1, "Detect", ["nc", "anchors"]]
    data["head"][10][0], data["head"][13][0] = [-1, 14], [-1, 10]
    with pytest.raises(ValueError, match=r"reads row 17 \(C3\) past row 18 \(SE\), which would not reach it"):
        build_model(checked_spec(data))
    data["head"][-1][3].append({"wiring": "free"})
    build_model(checked_spec(data))


def own_backbone() -> dict[str, Any]:
    """A list that is no stock graph: two convolutions more in the backbone, rows 8 and 9, and CBAM behind them."""
    data = layout("yolov5", 3)
    data["backbone"][8:8] = [[-1, 1, "Conv", [1024, 3, 1]], [-1, 1, "Conv", [1024, 3, 1]], [-1, 1, "CBAM", []]]
    for row, source in ((2, [-1, 6]), (6, [-1, 4]), (9, [-1, 17]), (12, [-1, 13]), (14, [20, 23, 26])):
        data["head"][row][0] = source
    return data


@pytest.mark.parametrize(
    ("row", "source", "expected"),
    [
        (9, [-1, 16], "row 22: [[-1, 16], 1, Concat, [1]] -> [[-1, 17], 1, Concat, [1]]  (reads row 16 (C3)"),
        (6, [-1, 3], "row 19: [[-1, 3], 1, Concat, [1]] -> [[-1, 4], 1, Concat, [1]]  (reads row 3 (Conv)"),
    ],
)
def test_unlikely_reads_of_a_list_of_its_own(
    row: int, source: list[int], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = own_backbone()
    with caplog.at_level(logging.WARNING):
        build_model(checked_spec(data, f"right{row}.yaml"))
        assert not messages(caplog)
        data["head"][row][0] = source
        build_model(checked_spec(data, f"wrong{row}.yaml"))
    assert f"wrong{row}.yaml: probably a forgotten index:\n  {expected}" in messages(caplog)


def test_a_stage_gathered_on_purpose_is_no_mistake() -> None:
    rows = [[-1, 1, "Conv", [8, 3, 2]], *([-1, 1, "Conv", [8, 3]] for _ in range(3)), [[-1, 2, 1, 0], 1, "Concat", [1]]]
    head = [[-1, 1, "Conv", [16, 3, 2]], [[4, 5], 1, "Detect", ["nc", "anchors"]]]
    verdict = judge(parse_spec({"nc": 1, "anchors": 1, "backbone": rows, "head": head}))
    assert verdict == Verdict(None)


def test_weights_trained_with_wrong_wiring_are_read_with_a_warning(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    from models import load_model, save_model

    spec = parse_spec(half_renumbered(False), "trained.yaml")
    save_model(build_model(spec), tmp_path / "old.pt")
    with caplog.at_level(logging.WARNING):
        assert load_model(tmp_path / "old.pt").spec.layers == spec.layers
    assert "2 rows are not wired as in YOLOv5 P3 to P5" in messages(caplog)
    assert "the weights were trained with it, so it is read as it stands" in messages(caplog)


def test_a_folder_of_any_fork(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right, wrong = layout("yolov5"), half_renumbered(False)
    for data in (right, wrong):
        data["backbone"][-1][2] = "SimSPPF"
        data["head"][-1][2] = "ASFF_Detect"
        data["head"][-1][3] = ["nc", "anchors", "eval(1)"]
    for name, data in {"right": right, "wrong": wrong, "data": {"names": ["a"]}}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    assert main(["--unknown", str(tmp_path)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 3
    assert out[0] == f"{tmp_path / 'right.yaml'}: right: YOLOv5 P3 to P5"
    assert out[1].startswith(f"{tmp_path / 'wrong.yaml'}: 2 rows are not wired as in YOLOv5 P3 to P5 with row 7 (CBAM)")
    assert out[2] == "1 of 2 lists are wrong"
    assert main([str(tmp_path)]) == 1
    assert "2 of 2 lists are wrong" in capsys.readouterr().out  # unknown modules are
    wrong["head"][20 - 11][3], wrong["head"][23 - 11][3] = [1, {"wiring": "free"}], [{"wiring": "free"}]
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    assert main(["--unknown", str(tmp_path)]) == 0
    (tmp_path / "wrong.yaml").unlink()
    assert main(["--unknown", str(tmp_path)]) == 0
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "none.yaml")])
