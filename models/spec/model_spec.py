"""The data of a model: `LayerSpec`, `ModelSpec`, and the checks that need nothing but the rows' indices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from files.kinds import is_int, is_items, is_mapping

IMAGE = -1  # the `source` of a row that reads the network's input
FREE = {"wiring": "free"}  # among the options of a row that is meant to read other maps than in YOLOv5


class SpecError(ValueError):
    """A model that cannot be built as written.

    Attributes:
        problem: File, row, what was read and what was expected.
        remedy: What to write instead.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        between = "\n" if "\n" in problem else "; "
        super().__init__(f"{problem}{between}{remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


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
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
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
        channels: Channels of the input image: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
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
        """The same model for another number of classes.

        Raises:
            ValueError: If `nc` is not a positive whole number.
        """
        if not is_int(nc) or nc < 1:
            raise ValueError(f"{self.file}: expected at least one class but got nc={nc!r}")
        return replace(self, nc=nc)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, dicts, numbers and strings, as stored in a checkpoint."""
        layers = [asdict(replace(layer, options={})) | {"options": dict(layer.options)} for layer in self.layers]
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "layers"}
        return _plain({**fields, "layers": layers})


def check_references(spec: ModelSpec) -> None:
    """Check what can be told from the indices alone: they are in range, the head is last, every other row is read.

    Raises:
        SpecError: Naming the file, the row and the remedy.
    """
    last = len(spec.layers) - 1
    for row, layer in enumerate(spec.layers):
        if not layer.source or not all(IMAGE <= s < row for s in layer.source):
            raise SpecError(
                f"{where(spec, row)}: reads {list(layer.source)}, but only the rows 0 to {row - 1} come before it",
                f"row {row}: {row_text(spec, row, (row - 1,))}",
            )
    if spec.layers[last].module != "Detect":
        raise SpecError(
            f"{where(spec, last)}: expected the last row to be Detect",
            f"move the Detect row to the end, or add [[…], 1, Detect, [nc, anchors]] as row {last + 1}",
        )
    for row, layer in enumerate(spec.layers[:last]):
        if layer.module == "Detect":
            raise SpecError(f"{where(spec, row)}: Detect is allowed only as the last row, {last}", f"delete row {row}")
    read = {source for layer in spec.layers for source in layer.source}
    for row in range(last):
        if row not in read:
            raise SpecError(
                f"{where(spec, row)}: expected a reader, but no later row reads it (Detect reads "
                f"{list(spec.layers[last].source)}), so it would train to nothing",
                _bypass(spec, row),
            )


def readers(spec: ModelSpec, row: int) -> Iterator[int]:
    """The rows that read `row`."""
    return (i for i, layer in enumerate(spec.layers) if row in layer.source)


def is_free(layer: LayerSpec) -> bool:
    """Whether the list says of this row that it reads what it is meant to read."""
    return layer.options.get("wiring") == FREE["wiring"]


def where(spec: ModelSpec, row: int) -> str:
    """File, row and module, to begin a message with."""
    return f"{spec.file}: row {row} ({spec.layers[row].module})"


def row_text(spec: ModelSpec, row: int, source: tuple[int, ...] | None = None, module: str | None = None) -> str:
    """A row as it is written in a YAML, with other sources or another module if given."""
    layer = spec.layers[row]
    indices = list(layer.source if source is None else source)
    if layer.module != "Detect" and indices[0] == row - 1:
        indices[0] = -1
    args = [*layer.args, dict(layer.options)] if layer.options else list(layer.args)
    first: Any = indices if len(indices) > 1 or layer.module == "Concat" else indices[0]
    return f"[{flow(first)}, {layer.number}, {module or layer.module}, {flow(args)}]"


def flow(value: Any) -> str:  # noqa: ANN401  (nested literals)
    """A literal as YAML on one line; reading it back gives the same value."""
    if is_items(value):
        return f"[{', '.join(map(flow, value))}]"
    if is_mapping(value):
        return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in value.items()) + "}"
    import yaml

    if value is None or isinstance(value, bool):
        return str(value)  # None, True and False, as YOLOv5's files have them
    # A scalar inside a list is quoted where a comma or a bracket asks for it.
    return yaml.safe_dump([value], default_flow_style=True, width=float("inf"), allow_unicode=True).strip()[1:-1]


def _bypass(spec: ModelSpec, row: int) -> str:
    """What to do about a row that nobody reads: let the row that reads past it read it; or delete it."""
    for reader in range(row + 1, len(spec.layers)):
        past = [s for s in spec.layers[reader].source if s in spec.layers[row].source]
        if past:
            source = tuple(row if s == past[0] else s for s in spec.layers[reader].source)
            return f"let row {reader} read it: {row_text(spec, reader, source)}; or delete it"
    return "delete it, or name its index in the `from` of a later row"


def _plain(value: Any) -> Any:  # noqa: ANN401  (nested data)
    if is_mapping(value):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if is_items(value) else value
