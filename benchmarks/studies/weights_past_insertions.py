"""How much of the pretrained weights reaches the row it was trained for when attention is inserted.

    python -m benchmarks.studies.weights_past_insertions --weights weights/yolov5n.pt --wirings fork_wirings.json

Each right wiring of the file is built on the rows of yolov5n.yaml, with CBAM for what was inserted, and filled in two
ways: as the original does, which copies the entries whose name and shape agree, and by `models.weights.transfer`. The
share is counted in values, and only where the row that gets them is the row that they were trained for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import yaml

from engine.config.parser import run_cli
from models import build_model, transfer
from models.graph.checked import checked_spec
from models.model_yaml import find_spec
from models.weights.checkpoint import Checkpoint, read_checkpoint


class Shares(NamedTuple):
    """Of the pretrained values, from 0 to 1."""

    original: float
    ours: float


def layer_list(rows: list[list[Any]]) -> dict[str, Any]:
    """The mapping of a wiring, rows of `[from, stock row or None]`, on the rows of yolov5n.yaml."""
    data = yaml.safe_load(find_spec("yolov5n.yaml").read_text(encoding="utf-8"))
    stock = [*data["backbone"], *data["head"]]
    written = [[source, *([1, "CBAM", []] if own is None else stock[own][1:])] for source, own in rows]
    backbone = next(i for i, (_, own) in enumerate(rows) if own == len(data["backbone"]))
    # Free, because a right list may let Detect pass an inserted row by, which is refused otherwise.
    return {**data, "wiring": "free", "backbone": written[:backbone], "head": written[backbone:]}


def shares(rows: list[list[Any]], source: Checkpoint) -> Shares:
    """What of the source arrives in the row that it was trained for."""
    model = build_model(checked_spec(layer_list(rows)).with_classes(source.spec.nc))
    own = [stock for _, stock in rows]
    values = {key: tensor.numel() for key, tensor in source.state_dict.items()}

    def share(pairs: Iterable[tuple[str, str]]) -> float:
        """Of pairs of a key in the model and the source's key that fills it."""
        return sum(values[key] for there, key in pairs if own[row_of(there)] == row_of(key)) / sum(values.values())

    named = [key for key, x in model.state_dict().items() if key in values and x.shape == source.state_dict[key].shape]
    report = transfer(model, source)
    return Shares(
        share((key, key) for key in named), share((e.target, e.source) for e in report.entries if e.target and e.source)
    )


def row_of(key: str) -> int:
    """`model.17.cv1.conv.weight` -> 17."""
    return int(key.split(".")[1])


def main() -> None:
    """Print a line for each right wiring, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="YOLOv5n trained on COCO")
    parser.add_argument("--wirings", type=Path, required=True, help="JSON: rows of [from, stock row or null], right")
    args = parser.parse_args()
    source = read_checkpoint(args.weights)
    cases = [c for c in json.loads(args.wirings.read_text(encoding="utf-8")) if c["right"]]
    found = []
    print("| inserted rows | by name and shape | by row |\n|---|---|---|")
    for case in cases:
        found.append(shares(case["rows"], source))
        places = ", ".join(str(i) for i, (_, own) in enumerate(case["rows"]) if own is None)
        print(f"| {places} | {found[-1].original:.1%} | {found[-1].ours:.1%} |", flush=True)
    few = sum(s.original < 0.04 for s in found)
    print(f"| median of {len(found)} | {median(s.original for s in found):.1%} | {median(s.ours for s in found):.1%} |")
    print(f"\nUnder 4 % by name and shape: {few}")


if __name__ == "__main__":
    sys.exit(run_cli(main))
