"""The layer lists of the original's `models/hub`, from the rule that they follow, and what the original builds of them.

Every list is at YOLOv5n's multiples (depth 0.33, width 0.25), so that a test can build them all.
"""

from typing import Any, NamedTuple

import torch
import yaml

ANCHORS_PX = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]
WIDTHS = (128, 256, 512, 1024)  # of the stages P2, P3, …


class Facts(NamedTuple):
    """What the original (master of 2026-08) builds of a layout at nc 80."""

    parameters: int
    keys: int
    keys_sha256: str  # first 16 digits, of the lines "key [shape]" in the order of its state dict
    strides: tuple[int, ...]


FACTS = {
    "yolov5": Facts(1872157, 349, "606392098eef1400", (8, 16, 32)),
    "p2": Facts(1916604, 423, "65116d4664d5c2e2", (4, 8, 16, 32)),
    "p34": Facts(1362462, 311, "648ce8e59a47f01f", (8, 16)),
    "p6": Facts(3246940, 459, "1a2c32ec41a8195c", (8, 16, 32, 64)),
    "p7": Facts(6180699, 569, "b28df97b42ec1cf6", (8, 16, 32, 64, 128)),
    "panet": Facts(1872157, 349, "606392098eef1400", (8, 16, 32)),
    "bifpn": Facts(1888541, 349, "d64c22786b0f78f1", (8, 16, 32)),
    "fpn": Facts(1612957, 307, "7755104a82a322a5", (8, 16, 32)),
    "ghost": Facts(1049217, 529, "70850e3a661cb35e", (8, 16, 32)),
    "transformer": Facts(1872285, 348, "538b0347a60fb4af", (8, 16, 32)),
    "leaky": Facts(1872157, 349, "606392098eef1400", (8, 16, 32)),
    "v3-tiny": Facts(592150, 71, "df15c0c8749d5d96", (16, 32)),
    "v3-spp": Facts(4034037, 445, "1589f262c611882a", (8, 16, 32)),
}


VARIANTS = {
    "csp": Facts(1920573, 357, "f1acf0f5c4023ef8", (8, 16, 32)),
    "c3x": Facts(1645853, 349, "b823befb0195334e", (8, 16, 32)),
    "focus-spp": Facts(1872157, 349, "7da9d7b1a153ee57", (8, 16, 32)),
    "c3spp": Facts(1872797, 367, "f9d0c02dfe14d511", (8, 16, 32)),
    "transposed": Facts(2060701, 353, "1cf78c010d8ebf7d", (8, 16, 32)),
    "depthwise": Facts(1261629, 349, "a20a26a0adb56662", (8, 16, 32)),
    "ghost-bottleneck": Facts(1438389, 565, "c2787aa88e473c75", (8, 16, 32)),
}
"""YOLOv5n with one kind of block in place of another, for the blocks that none of the lists above has."""


def variant(name: str, nc: int = 80) -> dict[str, Any]:
    """The mapping of a variant."""
    data = layout("yolov5", nc)
    for row in (*data["backbone"][1:], *data["head"]):
        module = row[2]
        if module == "C3" and name in ("csp", "c3x"):
            row[2] = {"csp": "BottleneckCSP", "c3x": "C3x"}[name]
        elif module == "nn.Upsample" and name == "transposed":
            row[2:] = ["nn.ConvTranspose2d", [256, 4, 2, 1]]
        elif module == "Conv" and name == "depthwise":
            row[2] = "DWConv"
        elif module == "Conv" and name == "ghost-bottleneck" and row[3][1:] == [3, 2]:
            row[2:] = ["GhostBottleneck", [row[3][0], 5, 2]]
        elif module == "SPPF" and name in ("focus-spp", "c3spp"):
            row[2:] = ["SPP", [1024, [5, 9, 13]]] if name == "focus-spp" else ["C3SPP", [1024, [3, 7]]]
    if name == "focus-spp":
        data["backbone"][0] = [-1, 1, "Focus", [64, 3]]
    return data


def layout(name: str, nc: int = 80) -> dict[str, Any]:
    """The mapping of a layout, as read from its YAML."""
    data = {"nc": nc, "depth_multiple": 0.33, "width_multiple": 0.25, "anchors": 3}
    if name.startswith("v3"):
        parts = _V3_TINY if name == "v3-tiny" else _V3_SPP
        backbone, head = (yaml.safe_load(part) for part in parts)
        return {**data, "depth_multiple": 1.0, "anchors": 3, "backbone": backbone, "head": head}
    if name in ("p6", "p7"):
        widths = (*WIDTHS[:3], 768, 1024, *((1280,) if name == "p7" else ()))
        return {**data, **_pan(widths)}
    if name == "fpn":
        return {**data, "backbone": _backbone(WIDTHS), "head": yaml.safe_load(_FPN)}
    if name in ("yolov5", "panet", "leaky"):
        activation = {"activation": "nn.LeakyReLU(0.1)"} if name == "leaky" else {}
        return {**data, "anchors": ANCHORS_PX, **activation, **_pan(WIDTHS)}
    options = {
        "p2": {"finest": 2},
        "p34": {"coarsest": 4},
        "bifpn": {"skip": True},
        "ghost": {"conv": "GhostConv", "c3": "C3Ghost"},
        "transformer": {"last": "C3TR"},
    }[name]
    return {**data, **_pan(WIDTHS, **options)}


def as_original(model: Any, data: dict[str, Any], **extra: object) -> dict[str, Any]:
    """A mapping like the original's: whole module objects, with the YAML and the strides as attributes."""
    model.__dict__["yaml"] = data
    model.__dict__["stride"] = model.detect.stride.clone()
    model.detect.__dict__["anchor_grid"] = [torch.zeros(1)]
    return {"epoch": -1, "best_fitness": None, "model": model.half(), "ema": None, "updates": None, **extra}


def _backbone(widths: tuple[int, ...], conv: str = "Conv", c3: str = "C3", last: str | None = None) -> list[Any]:
    rows: list[Any] = [[-1, 1, "Conv", [64, 6, 2, 2]]]
    repeats = (3, 6, 9, 3, 3, 3)
    for i, width in enumerate(widths):
        stage = last if last and i == len(widths) - 1 else c3
        rows += [[-1, 1, conv, [width, 3, 2]], [-1, repeats[i], stage, [width]]]
    return [*rows, [-1, 1, "SPPF", [widths[-1], 5]]]


def _pan(
    widths: tuple[int, ...],
    *,
    finest: int = 3,
    coarsest: int | None = None,
    skip: bool = False,
    conv: str = "Conv",
    c3: str = "C3",
    last: str | None = None,
) -> dict[str, Any]:
    """Down from the top level to the finest with lateral joins, then up again; stage Pk of the backbone is row 2k-2."""
    backbone = _backbone(widths, conv, c3, last)
    top = len(widths) + 1
    coarsest = coarsest or top
    rows = list(backbone)
    lateral = {}
    for k in range(top - 1, finest - 1, -1):
        lateral[k + 1] = len(rows)
        width = widths[k - 2]
        rows += [
            [-1, 1, conv, [width, 1, 1]],
            [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
            [[-1, 2 * k - 2], 1, "Concat", [1]],
            [-1, 1 if k == 2 else 3, c3, [width, False]],
        ]
    outputs = [len(rows) - 1]
    for k in range(finest + 1, coarsest + 1):
        joined = [-1, lateral[k], *([6] if skip and k == 4 else [])]
        rows += [
            [-1, 1, conv, [widths[k - 3], 3, 2]],
            [joined, 1, "Concat", [1]],
            [-1, 3, c3, [widths[k - 2], False]],
        ]
        outputs.append(len(rows) - 1)
    rows.append([outputs, 1, "Detect", ["nc", "anchors"]])
    return {"backbone": backbone, "head": rows[len(backbone) :]}


_FPN = """
- [-1, 3, C3, [1024, False]]
- [-1, 1, nn.Upsample, [None, 2, nearest]]
- [[-1, 6], 1, Concat, [1]]
- [-1, 1, Conv, [512, 1, 1]]
- [-1, 3, C3, [512, False]]
- [-1, 1, nn.Upsample, [None, 2, nearest]]
- [[-1, 4], 1, Concat, [1]]
- [-1, 1, Conv, [256, 1, 1]]
- [-1, 3, C3, [256, False]]
- [[18, 14, 10], 1, Detect, [nc, anchors]]
"""

_V3_TINY = (
    """
- [-1, 1, Conv, [16, 3, 1]]
- [-1, 1, nn.MaxPool2d, [2, 2, 0]]
- [-1, 1, Conv, [32, 3, 1]]
- [-1, 1, nn.MaxPool2d, [2, 2, 0]]
- [-1, 1, Conv, [64, 3, 1]]
- [-1, 1, nn.MaxPool2d, [2, 2, 0]]
- [-1, 1, Conv, [128, 3, 1]]
- [-1, 1, nn.MaxPool2d, [2, 2, 0]]
- [-1, 1, Conv, [256, 3, 1]]
- [-1, 1, nn.MaxPool2d, [2, 2, 0]]
- [-1, 1, Conv, [512, 3, 1]]
- [-1, 1, nn.ZeroPad2d, [[0, 1, 0, 1]]]
- [-1, 1, nn.MaxPool2d, [2, 1, 0]]
""",
    """
- [-1, 1, Conv, [1024, 3, 1]]
- [-1, 1, Conv, [256, 1, 1]]
- [-1, 1, Conv, [512, 3, 1]]
- [-2, 1, Conv, [128, 1, 1]]
- [-1, 1, nn.Upsample, [None, 2, nearest]]
- [[-1, 8], 1, Concat, [1]]
- [-1, 1, Conv, [256, 3, 1]]
- [[19, 15], 1, Detect, [nc, anchors]]
""",
)

_V3_SPP = (
    """
- [-1, 1, Conv, [32, 3, 1]]
- [-1, 1, Conv, [64, 3, 2]]
- [-1, 1, Bottleneck, [64]]
- [-1, 1, Conv, [128, 3, 2]]
- [-1, 2, Bottleneck, [128]]
- [-1, 1, Conv, [256, 3, 2]]
- [-1, 8, Bottleneck, [256]]
- [-1, 1, Conv, [512, 3, 2]]
- [-1, 8, Bottleneck, [512]]
- [-1, 1, Conv, [1024, 3, 2]]
- [-1, 4, Bottleneck, [1024]]
""",
    """
- [-1, 1, Bottleneck, [1024, False]]
- [-1, 1, SPP, [512, [5, 9, 13]]]
- [-1, 1, Conv, [1024, 3, 1]]
- [-1, 1, Conv, [512, 1, 1]]
- [-1, 1, Conv, [1024, 3, 1]]
- [-2, 1, Conv, [256, 1, 1]]
- [-1, 1, nn.Upsample, [None, 2, nearest]]
- [[-1, 8], 1, Concat, [1]]
- [-1, 1, Bottleneck, [512, False]]
- [-1, 1, Bottleneck, [512, False]]
- [-1, 1, Conv, [256, 1, 1]]
- [-1, 1, Conv, [512, 3, 1]]
- [-2, 1, Conv, [128, 1, 1]]
- [-1, 1, nn.Upsample, [None, 2, nearest]]
- [[-1, 6], 1, Concat, [1]]
- [-1, 1, Bottleneck, [256, False]]
- [-1, 2, Bottleneck, [256, False]]
- [[27, 22, 15], 1, Detect, [nc, anchors]]
""",
)
