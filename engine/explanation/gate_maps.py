"""What the gates of a layer do at each place of the map, as one map or several that can be laid over the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.explanation.explained import Explained
from engine.explanation.gates import Gate

_EVEN = 1e-4  # a gate that varies by less than this share of itself is one number


class GateMap(NamedTuple):
    """A gate, or several together, over the network's input.

    Attributes:
        title: What it is.
        values: (h, w) float32.
        combined: Whether it holds the row and column gates.
        detection: The number of the one from whose centre it is seen, if so.
    """

    title: str
    values: np.ndarray
    combined: bool = False
    detection: int | None = None

    @property
    def heat(self) -> np.ndarray | None:
        """From the lowest value, 0, to the highest, 1; None where all are as good as equal."""
        low, high = float(self.values.min()), float(self.values.max())
        return None if high - low <= _EVEN * max(abs(low), abs(high)) else normalised(self.values)

    @property
    def told(self) -> str:
        """The values in words."""
        low, high = float(self.values.min()), float(self.values.max())
        return f"{high:.4g} everywhere" if self.heat is None else f"{low:.4g} to {high:.4g}"


def gate_maps(explanation: Explained, gates: Sequence[Gate]) -> list[GateMap]:
    """The gates of one layer that differ from place to place, what they do together first.

    Channel gates alone are the same at every place and give none.
    """
    maps = _together(gates)
    for one in gates:
        if one.kind == "spatial":
            maps.append(GateMap("spatial gate", one.values))
        elif one.kind == "full":
            maps.append(GateMap("full gate, mean over channels", one.values.mean(0)))
        elif one.kind == "affinity" and one.detection is not None:
            name = explanation.names[int(explanation.found.class_ids[one.detection])]
            title = f"seen from the centre of {name} {explanation.found.confidences[one.detection]:.2f}"
            maps.append(GateMap(title, one.values, detection=one.detection))
    return maps


def _together(gates: Sequence[Gate]) -> list[GateMap]:
    """What row, column and added gates multiply the map with, mean over channels."""
    together, kinds = gates[0].together, {one.kind: one for one in gates}
    if together != "product":
        total = sum(map(_mean_over_channels, gates)) / (len(gates) if together == "mean" else 1)
        title = f"{together} of the {', '.join(kinds)} gates"
    elif {"row", "column"} & set(kinds):
        row, column = (kinds[kind].values if kind in kinds else np.ones((1, 1)) for kind in ("row", "column"))
        total = (row[:, :, None] * column[:, None]).mean(0)
        title = " x ".join(f"{kind} gate" for kind in ("row", "column") if kind in kinds)
    else:
        return []
    return [GateMap(f"{title}, mean over channels", np.atleast_2d(total).astype(np.float32), combined=True)]


def _mean_over_channels(one: Gate) -> np.ndarray:
    """In a shape that spreads over (h, w)."""
    if one.kind == "channel":
        return one.values.mean(keepdims=True)
    if one.kind == "spatial":
        return one.values
    mean = one.values.mean(0)
    return {"row": mean[..., None], "column": mean[None]}.get(one.kind, mean)


def by_layer(gates: Sequence[Gate]) -> list[list[Gate]]:
    """The gates of each layer together, in the order of the layers."""
    layers: dict[str, list[Gate]] = {}
    for one in gates:
        layers.setdefault(one.layer, []).append(one)
    return list(layers.values())


def normalised(values: np.ndarray) -> np.ndarray:
    """From the lowest value, 0, to the highest, 1."""
    low, high = float(values.min()), float(values.max())
    return ((values - low) / (high - low) if high > low else np.zeros_like(values)).astype(np.float32)
