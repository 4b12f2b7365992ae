"""A model YAML as checked, frozen data: `load_spec` reads it, `ModelSpec` holds it.

Nothing in a YAML is evaluated and this module imports no torch. A file is either a complete YOLOv5 layer list
(`backbone` and `head`, rows of `[from, number, module, args]`) or an overlay (`base` and `insert`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent
IMAGE = -1  # the `source` of a row that reads the network's input

_MODEL_KEYS = {
    "nc", "depth_multiple", "width_multiple", "anchors", "backbone", "head", "ch", "activation", "channel_multiple",
    "inplace", "names",
}  # fmt: skip
_OVERLAY_KEYS = {"base", "insert", "nc", "anchors", "depth_multiple", "width_multiple", "activation"}


@dataclass(frozen=True)
class LayerSpec:
    """One row of a layer list.

    Attributes:
        source: Absolute indices of the rows it reads; `IMAGE` (-1) is the network's input.
        number: Repeats as written, before the depth multiple.
        module: The module's name as written, e.g. `C3`, `nn.Upsample`, `CoordAtt`.
        args: Positional arguments, literals only; channel counts as written, before the width multiple.
        options: Keyword arguments: the mapping that ends the row's argument list, if there is one.
        base_row: The row of the base model that this row is, or None for a row that was inserted.
    """

    source: tuple[int, ...]
    number: int
    module: str
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    base_row: int | None = None


@dataclass(frozen=True)
class ModelSpec:
    """A complete detection model as data; the last row is the head (`Detect`).

    Attributes:
        layers: Every row, backbone first.
        nc: Number of classes.
        anchors: Per detection level the anchors as flat `w, h, w, h, …` in pixels, or the number of anchors a level
            where they are to be computed from the data.
        depth_multiple: Factor on the repeats of a row.
        width_multiple: Factor on the channels of a row.
        backbone_rows: How many of the rows are the backbone.
        channels: Channels of the input image.
        channel_multiple: Scaled channel counts are rounded up to a multiple of this.
        activation: The activation of every `Conv`, e.g. `nn.LeakyReLU(0.1)`; None is SiLU.
        file: The file's name for messages.
        base: The base file of an overlay.
    """

    layers: tuple[LayerSpec, ...]
    nc: int
    anchors: tuple[tuple[float, ...], ...] | int
    depth_multiple: float = 1.0
    width_multiple: float = 1.0
    backbone_rows: int = 0
    channels: int = 3
    channel_multiple: int = 8
    activation: str | None = None
    file: str = "model"
    base: str | None = None

    def with_classes(self, nc: int) -> ModelSpec:
        """The same model for another number of classes."""
        return replace(self, nc=nc)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts, numbers and strings, as stored in a checkpoint."""
        layers = [asdict(replace(layer, options={})) | {"options": dict(layer.options)} for layer in self.layers]
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "layers"}
        return _plain({**fields, "layers": layers})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelSpec:
        """The inverse of `to_dict`.

        Raises:
            ValueError: If a field is missing or unknown.
        """
        fields = dict(data)
        try:
            rows = [{**row, "source": tuple(row["source"]), "args": tuple(row["args"])} for row in fields["layers"]]
            anchors = fields["anchors"]
            fields["anchors"] = anchors if isinstance(anchors, int) else tuple(tuple(level) for level in anchors)
            fields["layers"] = tuple(LayerSpec(**row) for row in rows)
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ValueError(f"the stored model spec is not complete: {error}") from error


def load_spec(path: str | Path, nc: int | None = None) -> ModelSpec:
    """Read a model YAML, a complete layer list or an overlay.

    Args:
        path: A path, or a bare name such as `yolov5s_ca.yaml`, which is looked up in `models/`.
        nc: Number of classes; overrides the file's own.

    Returns:
        The checked spec: every index absolute and in range, every layer read, the head last.

    Raises:
        ValueError: If the file is missing or wrong; names the file, the row, what was read and the remedy.
    """
    file = _find(path)
    data = _read_yaml(file)
    spec = _load_overlay(file, data) if "base" in data else parse_spec(data, file.name)
    if nc is not None:
        if nc < 1:
            raise ValueError(f"{file.name}: expected at least one class but got nc={nc}")
        spec = spec.with_classes(nc)
    return spec


def parse_spec(data: Mapping[str, Any], file: str = "model") -> ModelSpec:
    """Check the mapping of a complete layer list, in YOLOv5's format.

    Raises:
        ValueError: As `load_spec`.
    """
    _check_keys(data, _MODEL_KEYS, ("nc", "anchors", "backbone", "head"), file)
    rows = [*_rows(data, "backbone", file), *_rows(data, "head", file)]
    layers = tuple(_parse_row(i, row, len(data["backbone"]), file) for i, row in enumerate(rows))
    spec = ModelSpec(
        layers=tuple(replace(layer, base_row=i) for i, layer in enumerate(layers)),
        nc=_number(data, "nc", int, file),
        anchors=_parse_anchors(data["anchors"], file),
        depth_multiple=_number(data, "depth_multiple", float, file, 1.0),
        width_multiple=_number(data, "width_multiple", float, file, 1.0),
        backbone_rows=len(data["backbone"]),
        channels=_number(data, "ch", int, file, 3),
        channel_multiple=_number(data, "channel_multiple", int, file, 8),
        activation=data.get("activation"),
        file=file,
    )
    check_references(spec)
    return spec


def check_references(spec: ModelSpec) -> None:
    """Check what can be told from the indices alone: the head is last and every other row is read.

    Raises:
        ValueError: Naming the file, the row and the remedy.
    """
    last = len(spec.layers) - 1
    if spec.layers[last].module != "Detect":
        raise ValueError(
            f"{spec.file}: row {last} ({spec.layers[last].module}): expected the last row to be Detect; "
            "move the Detect row to the end"
        )
    for row, layer in enumerate(spec.layers[:last]):
        if layer.module == "Detect":
            raise ValueError(f"{spec.file}: row {row}: Detect is allowed only as the last row, {last}")
    read = {source for layer in spec.layers for source in layer.source}
    for row, layer in enumerate(spec.layers[:last]):
        if row not in read:
            raise ValueError(
                f"{spec.file}: row {row} ({layer.module}): no later row reads it, so it would train to nothing. "
                f"If it was inserted by hand, every absolute index of a later `from` that is {row - 1 if row else 0} "
                f"or more must be raised by one; Detect reads {list(spec.layers[last].source)}"
            )


def readers(spec: ModelSpec, row: int) -> Iterator[int]:
    """The rows that read `row`."""
    return (i for i, layer in enumerate(spec.layers) if row in layer.source)


def _find(path: str | Path) -> Path:
    given = Path(path)
    names = [given] if given.suffix in (".yaml", ".yml") else [given, given.with_name(given.name + ".yaml")]
    folders = [Path(), FOLDER.parent, FOLDER, FOLDER / "hub", FOLDER / "overlays"]
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    from difflib import get_close_matches

    known = sorted({p.name for p in FOLDER.glob("**/*.yaml")})
    near = get_close_matches(given.name, known, n=3, cutoff=0.4)
    raise ValueError(
        f"model file {str(path)!r} was not found in the current folder or in models/"
        + (f"; nearest: {', '.join(near)}" if near else "")
    )


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file.name}: not readable as YAML in UTF-8: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{file.name}: expected a mapping with backbone and head, or base and insert")
    return data


def _load_overlay(file: Path, data: Mapping[str, Any]) -> ModelSpec:
    from models.insertion import apply_overlay

    _check_keys(data, _OVERLAY_KEYS, ("base", "insert"), file.name)
    name = data["base"]
    beside = file.parent / str(name)
    spec = load_spec(beside if beside.is_file() else str(name))
    if "nc" in data:
        spec = spec.with_classes(_number(data, "nc", int, file.name))
    if "anchors" in data:
        spec = replace(spec, anchors=_parse_anchors(data["anchors"], file.name))
    for key in ("depth_multiple", "width_multiple"):
        if key in data:
            spec = replace(spec, **{key: _number(data, key, float, file.name)})
    if "activation" in data:
        spec = replace(spec, activation=data["activation"])
    return apply_overlay(replace(spec, file=file.name, base=str(name)), data["insert"])


def _check_keys(data: Mapping[str, Any], known: set[str], needed: Sequence[str], file: str) -> None:
    missing = [key for key in needed if key not in data]
    if missing:
        raise ValueError(f"{file}: expected the keys {', '.join(needed)} but {', '.join(missing)} is missing")
    for key in data:
        if key not in known:
            raise ValueError(f"{file}: unknown key {key!r}; known keys: {', '.join(sorted(known))}")


def _rows(data: Mapping[str, Any], part: str, file: str) -> list[Any]:
    rows = data[part]
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{file}: {part}: expected a list of rows [from, number, module, args] but got {rows!r}")
    return rows


def _number(data: Mapping[str, Any], key: str, kind: type, file: str, default: float | None = None) -> Any:  # noqa: ANN401  (int or float, by `kind`)
    value = data.get(key, default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{file}: {key}: expected a positive {kind.__name__} but got {value!r}")
    return value


def _parse_anchors(value: Any, file: str) -> tuple[tuple[float, ...], ...] | int:  # noqa: ANN401  (YAML value)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    good = isinstance(value, list) and value and all(isinstance(level, list) for level in value)
    good = good and all(isinstance(x, (int, float)) and x > 0 for level in value for x in level)
    lengths = {len(level) for level in value} if good else set()
    if len(lengths) != 1 or min(lengths) < 2 or min(lengths) % 2:
        raise ValueError(
            f"{file}: anchors: expected one list of w, h pairs a level, all of the same length and in pixels, "
            f"or the number of anchors a level, but got {value!r}"
        )
    return tuple(tuple(float(x) for x in level) for level in value)


def _parse_row(row: int, value: Any, backbone_rows: int, file: str) -> LayerSpec:  # noqa: ANN401  (YAML value)
    part = "backbone" if row < backbone_rows else "head"
    where = f"{file}: row {row} ({part}[{row - (0 if row < backbone_rows else backbone_rows)}])"
    if not isinstance(value, list) or len(value) not in (3, 4):
        raise ValueError(f"{where}: expected [from, number, module, args] but got {value!r}")
    source, number, module, args = [*value, []][:4]
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f"{where}: number: expected a whole number of repeats, at least 1, but got {number!r}")
    if not isinstance(module, str):
        raise ValueError(f"{where}: module: expected a name but got {module!r}")
    if isinstance(args, Mapping):
        args = [args]
    if not isinstance(args, list):
        raise ValueError(f"{where}: args: expected a list or a mapping of options but got {args!r}")
    literals = [_literal(a) for a in args]
    options = literals.pop() if literals and isinstance(literals[-1], dict) else {}
    sources = tuple(_absolute(s, row, where) for s in (source if isinstance(source, list) else [source]))
    if not sources:
        raise ValueError(f"{where}: from: expected the index of a row, or a list of them, but got an empty list")
    return LayerSpec(sources, number, module, tuple(literals), options)


def _absolute(source: Any, row: int, where: str) -> int:  # noqa: ANN401  (YAML value)
    """The absolute index of one entry of a `from`; negative entries count back from the row itself."""
    if not isinstance(source, int) or isinstance(source, bool):
        raise ValueError(f"{where}: from: expected the index of a row but got {source!r}")
    index = row + source if source < 0 else source
    if row == 0 and source == -1:
        return IMAGE
    if not 0 <= index < row:
        raise ValueError(
            f"{where}: from: {source} points to row {index}, but only the rows 0 to {row - 1} come before it"
            if row
            else f"{where}: from: expected -1, the image, in the first row but got {source}"
        )
    return index


def _literal(value: Any) -> Any:  # noqa: ANN401  (YAML value)
    """YOLOv5 writes some literals as Python text (`None`, `True`); anything else stays the string it is."""
    if isinstance(value, list):
        return tuple(_literal(v) for v in value)
    if isinstance(value, dict):
        return {k: _literal(v) for k, v in value.items()}
    if isinstance(value, str) and value in ("None", "True", "False"):
        return ast.literal_eval(value)
    return value


def _plain(value: Any) -> Any:  # noqa: ANN401  (nested data)
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value
