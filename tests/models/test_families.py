"""The families' layer lists against what the original YOLOv5 builds of its own lists of these names."""

import hashlib
from dataclasses import replace

import pytest
import torch
from torch import nn

from models import build_model, insert, load_spec
from models.check import main as check
from models.graph.wiring import judge
from models.insertion.places import places
from models.model_yaml import FAMILIES, find_spec
from models.weights.transfer import transfer

# Parameters, keys, and the first 16 digits of the SHA-256 of the lines "key [shape]" in the order of the state dict,
# printed by the original (master of 2026-08) for its models/hub lists at nc 80 and these multiples. Equal keys and
# shapes are what loading its weights strictly asks for.
ORIGINAL = {
    "yolov5n-p2": (1916604, 423, "65116d4664d5c2e2"),
    "yolov5s-p2": (7394684, 423, "95084fe5195464c0"),
    "yolov5m-p2": (21627900, 567, "05c98c259cb7ce14"),
    "yolov5l-p2": (47493372, 711, "44db57758885588d"),
    "yolov5x-p2": (88447100, 855, "4587242b49406773"),
    "yolov5n-p34": (1362462, 311, "648ce8e59a47f01f"),
    "yolov5s-p34": (5331518, 311, "16764336393ecc94"),
    "yolov5m-p34": (15531678, 431, "6e94757c45165e84"),
    "yolov5l-p34": (33970302, 551, "6f85f3343e5daa33"),
    "yolov5x-p34": (63058910, 671, "ca036602759f0107"),
    "yolov5n-p6": (3246940, 459, "1a2c32ec41a8195c"),
    "yolov5s-p6": (12626620, 459, "707834fc47090f00"),
    "yolov5m-p6": (35731932, 627, "11b3492baeb32128"),
    "yolov5l-p6": (76770172, 795, "344e1052f2ed5e1b"),
    "yolov5x-p6": (140794780, 963, "5076170544d14585"),
    "yolov5n-p7": (6180699, 569, "b28df97b42ec1cf6"),
    "yolov5s-p7": (24183227, 569, "eed4a1f3f034651f"),
    "yolov5m-p7": (67688667, 773, "344b247d3c716d61"),
    "yolov5l-p7": (144281723, 977, "bf822895805d32a4"),
    "yolov5x-p7": (263070875, 1181, "b734428ec3937701"),
    "yolov5n-bifpn": (1888541, 349, "d64c22786b0f78f1"),
    "yolov5s-bifpn": (7300925, 349, "06a7a03b642ee2ae"),
    "yolov5m-bifpn": (21338013, 481, "5a63b4819c3d2603"),
    "yolov5l-bifpn": (46825853, 613, "a1e1db12f937d92f"),
    "yolov5x-bifpn": (87159005, 745, "d9e6ff4a349571f1"),
    "yolov5n-fpn": (1612957, 307, "7755104a82a322a5"),
    "yolov5s-fpn": (6200893, 307, "3e7e765b3b9dea98"),
    "yolov5m-fpn": (18495261, 427, "b0aec3beff40162c"),
    "yolov5l-fpn": (41117565, 547, "72af0d0a15e3b6d9"),
    "yolov5x-fpn": (77216605, 667, "9bb401b0504e5ee2"),
    "yolov5n-panet": (1872157, 349, "606392098eef1400"),
    "yolov5s-panet": (7235389, 349, "6fc39ae6489bd953"),
    "yolov5m-panet": (21190557, 481, "c99a24dc0a3c24a3"),
    "yolov5l-panet": (46563709, 613, "0ec421b6e18fb709"),
    "yolov5x-panet": (86749405, 745, "0661b7e5c48d7ae9"),
    "yolov5n-ghost": (1049217, 529, "70850e3a661cb35e"),
    "yolov5s-ghost": (3897605, 529, "d9a3f9c73b2e5b77"),
    "yolov5m-ghost": (8845413, 793, "80a940082ad80db4"),
    "yolov5l-ghost": (16019117, 1057, "0051ef5fff73dab0"),
    "yolov5x-ghost": (25588445, 1321, "6230e156743a588e"),
    "yolov5n-transformer": (1872285, 348, "538b0347a60fb4af"),
    "yolov5s-transformer": (7235645, 348, "b1e513496d5e18f9"),
    "yolov5m-transformer": (21043485, 477, "57da774e87855274"),
    "yolov5l-transformer": (46039933, 606, "3999e1e786369629"),
    "yolov5x-transformer": (85521245, 735, "c185b2c8812a433b"),
    "yolov3": (61949149, 439, "366d418e37a9bf0d"),
    "yolov3-spp": (62998749, 445, "683c9903846c8fac"),
    "yolov3-tiny": (8852366, 71, "16f180c6b088c938"),
}
SMALL = sorted({name for name in ORIGINAL if name.startswith(("yolov5n", "yolov3"))})


def small(name):
    """A family's spec, narrowed where the original has one large size only."""
    return replace(load_spec(name, nc=2), **({"width_multiple": 0.125} if name.startswith("yolov3") else {}))


@pytest.mark.parametrize("name", ORIGINAL)
def test_parameters_and_keys_are_the_originals(name):
    with torch.device("meta"):
        model = build_model(load_spec(f"{name}.yaml"))
    lines = [f"{key} {list(tensor.shape)}" for key, tensor in model.state_dict().items()]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    assert (sum(p.numel() for p in model.parameters()), len(lines), digest) == ORIGINAL[name]


@pytest.mark.parametrize("size", "nsmlx")
def test_the_name_of_p6_weights_is_a_list_too(size):
    named, same = load_spec(f"yolov5{size}6.yaml"), load_spec(f"yolov5{size}-p6.yaml")
    assert replace(named, file="") == replace(same, file="")
    assert named.anchors[3] == (436, 615, 739, 380, 925, 792)
    assert len(named.layers[-1].source) == 4


@pytest.mark.parametrize("name", SMALL)
def test_it_detects_at_its_levels_and_its_wiring_is_known(name):
    spec = small(name)
    verdict = judge(spec)
    assert verdict.graph is not None
    assert (verdict.wrong, verdict.doubtful, verdict.inserted) == ((), (), ())
    model = build_model(spec)
    side_px = 2 * model.stride_px
    maps = model(torch.rand(1, 3, side_px, side_px))
    assert [y.shape[2:4] for y in maps] == [(side_px // s,) * 2 for s in model.stride.int().tolist()]


@pytest.mark.parametrize("name", SMALL)
def test_attention_at_every_place_keeps_the_wiring_right(name):
    spec = small(name)
    known = places(spec)
    assert {f"neck.P{int(s).bit_length() - 1}" for s in LEVELS.get(name, (8, 16, 32))} == {
        place for place in known if place.startswith("neck")
    }
    assert {f"backbone.P{k}" for k in range(1, 6)} <= set(known)
    for place in known:
        inserted = insert(spec, f"SE@{place}")
        verdict = judge(inserted)
        assert (verdict.wrong, verdict.doubtful) == ((), ()), place
        assert [inserted.layers[row].module for row in verdict.inserted] == ["SE"]


LEVELS = {
    "yolov5n-p2": (4, 8, 16, 32),
    "yolov5n-p34": (8, 16),
    "yolov5n-p6": (8, 16, 32, 64),
    "yolov5n-p7": (8, 16, 32, 64, 128),
    "yolov3-tiny": (16, 32),
}


def test_attention_in_a_family_begins_as_the_base():
    spec = small("yolov5n-p2")
    base, attended = build_model(spec), build_model(insert(spec, "CBAM@neck,backbone.P2", start="identity"))
    assert transfer(attended, base).count("unused") == 0
    images = torch.rand(1, 3, 64, 64)
    for ours, theirs in zip(attended.eval().raw(images), base.eval().raw(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_a_size_that_nobody_named_is_refused_with_the_nearest(capsys):
    with pytest.raises(ValueError, match=r"'yolov5n-p9.yaml' was not found.*nearest: .*yolov5-p\d.yaml"):
        find_spec("yolov5n-p9.yaml")
    with pytest.raises(ValueError, match="was not found"):
        find_spec("elsewhere/yolov5n-p2.yaml")
    assert find_spec(str(FAMILIES / "yolov5s-p2.yaml")) == find_spec("yolov5s-p2")  # as `--cfg` hands it on
    assert check(["yolov5x-p7.yaml"]) == 0
    assert capsys.readouterr().out == "right: YOLOv5 P3 to P7\n"


def test_a_file_of_that_name_goes_before(tmp_path, monkeypatch):
    (tmp_path / "yolov5n-p2.yaml").write_text((FAMILIES / "yolov5-p34.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    assert len(load_spec("yolov5n-p2.yaml").layers[-1].source) == 2


def test_an_overlay_on_a_family(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: yolov5n-p2.yaml\ninsert:\n  - {after: neck.P2, attention: CBAM}\n")
    spec = load_spec(file)
    assert spec.base == "yolov5n-p2.yaml"
    assert isinstance(build_model(spec).model[22], nn.Module)
    assert spec.layers[22].module == "CBAM"
    assert spec.layers[-1].source[0] == 22
