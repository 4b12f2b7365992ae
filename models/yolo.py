"""From a spec to a network: `build_model`, `DetectionModel` and the anchor-based `Detect` head."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
import yaml
from torch import Tensor, nn

from models.blocks.convolutions import Concat, Conv
from models.blocks.reparameterised import RepVGGBlock
from models.graph.channels_and_strides import GraphRow, head_anchors
from models.graph.checked import analyse
from models.graph.row_arguments import parse_activation
from models.insertion.layer_list import layer_list
from models.spec.model_spec import IMAGE, ModelSpec, row_text, where

# What a constructor or a first forward pass raises for arguments that do not go together; the row's text is the cause.
_UNFIT = (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, AttributeError, AssertionError)
# Their gradient needs only their result. That of SiLU needs its input, so in place autograd copies that first: one more
# pass over every map of a training step.
_INPLACE = (nn.ReLU, nn.ReLU6, nn.LeakyReLU)


class Detect(nn.Module):
    """YOLOv5's head: one 1x1 convolution a level, and the decoding of its output to boxes.

    Args:
        nc: Number of classes.
        anchors_px: Per level the anchors as flat w, h, w, h, … in pixels.
        channels: Channels of each level's input.
        strides: Pixels a cell, for each level.

    Attributes:
        anchors: Buffer (levels, anchors, 2): widths and heights in cells of the level.
        stride: Pixels a cell, (levels,). Not part of the state dict, as in YOLOv5.
        nl, na, nc, no: Levels, anchors a level, classes, outputs an anchor.
    """

    stride: Tensor  # (levels,) pixels a cell
    anchors: Tensor  # (levels, anchors, 2) width and height in cells

    def __init__(
        self, nc: int, anchors_px: Sequence[Sequence[float]], channels: Sequence[int], strides: Sequence[float]
    ) -> None:
        super().__init__()
        self.nc = nc
        self.no = nc + 5
        self.nl = len(anchors_px)
        self.na = len(anchors_px[0]) // 2
        self.register_buffer("stride", torch.tensor([float(s) for s in strides]), persistent=False)
        anchors_wh_px = torch.tensor([list(level) for level in anchors_px], dtype=torch.float32)
        self.register_buffer("anchors", anchors_wh_px.view(self.nl, self.na, 2) / self.stride.view(-1, 1, 1))
        self.m = nn.ModuleList(nn.Conv2d(c, self.no * self.na, 1) for c in channels)
        self._start_biases(strides)

    def _start_biases(self, strides: Sequence[float]) -> None:
        """Begin near what an average image holds: 8 objects at 640 px, classes rare (Lin et al. 2017, section 3.3)."""
        for conv, stride in zip(self.m, strides, strict=True):
            bias = conv.get_parameter("bias").detach().view(self.na, self.no)
            bias[:, 4] += math.log(8 / (640 / stride) ** 2)
            bias[:, 5:] += math.log(0.6 / (self.nc - 0.99999))

    def raw(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C, H, W), …] -> per level (B, anchors, H, W, 5 + classes), before the sigmoid."""
        return self.by_anchor(self.maps(maps))

    def maps(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C, H, W), …] -> per level (B, anchors x (5 + classes), H, W): the convolutions alone."""
        return [conv(x) for conv, x in zip(self.m, maps, strict=True)]

    def by_anchor(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """(B, anchors x (5 + classes), H, W) a level -> (B, anchors, H, W, 5 + classes)."""
        split = [y.reshape(y.shape[0], self.na, self.no, *y.shape[2:]) for y in maps]
        return [y.permute(0, 1, 3, 4, 2).contiguous() for y in split]

    def decode(self, raw: Sequence[Tensor]) -> Tensor:
        """Raw maps -> (B, N, 5 + classes): cx, cy, w, h in pixels, objectness and class scores.

        A centre may lie up to half a cell outside its cell, a side up to four times its anchor's: with s the sigmoid,
        xy = (2 s(t) - 0.5 + cell) * stride and wh = (2 s(t))^2 * anchor. N counts levels, anchors, rows, columns.
        """
        decoded = []
        for level, y in enumerate(raw):
            b, na, h, w, no = y.shape
            stride = self.stride[level]
            cells = _cell_grid(h, w, y.device) - 0.5  # (1, 1, H, W, 2)
            anchors_wh_px = (self.anchors[level] * stride).view(1, na, 1, 1, 2)
            wide = y if y.dtype is torch.float64 else y.float()
            xy, wh, scores = wide.sigmoid().split((2, 2, no - 4), 4)
            boxes = torch.cat(((xy * 2 + cells) * stride, (wh * 2) ** 2 * anchors_wh_px, scores), 4)
            decoded.append(boxes.reshape(b, na * h * w, no))
        return torch.cat(decoded, 1)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor] | Tensor:
        """Raw maps in training mode, decoded boxes in eval mode."""
        raw = self.raw(maps)
        return raw if self.training else self.decode(raw)


class DetectionModel(nn.Module):
    """A network built from a spec.

    In training mode `model(images)` gives a list with one raw map (B, anchors, H, W, 5 + classes) a level. In eval mode
    it gives (B, N, 5 + classes): cx, cy, w, h in pixels of the input, objectness and class scores. Images are
    (B, C, H, W), C the spec's `channels` (3: RGB), in 0..1, H and W multiples of `stride_px`.

    Attributes:
        spec: The spec it was built from.
        model: The rows; `model.<row>.…` are the state dict's keys, as in YOLOv5.
        names: From class number to class name.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        graph = analyse(spec)
        self.model = nn.ModuleList(_make(spec, graph, index) for index in range(len(graph)))
        self.names = {i: str(i) for i in range(spec.nc)}
        self._sources = tuple(layer.source for layer in spec.layers)
        self._last_use = _last_uses(self._sources)
        self._joins = tuple(
            isinstance(module, Concat) or len(read) > 1 for module, read in zip(self.model, self._sources, strict=True)
        )
        self._stride_px = math.ceil(max(row.stride for row in graph))
        self._kept_in_eval: tuple[nn.Module, ...] = ()
        start_norms(self.model)
        if spec.activation is not None:
            _set_activation(self.model, spec)
        self._try_out()

    @property
    def detect(self) -> Detect:
        """The head."""
        return cast(Detect, self.model[-1])

    @property
    def stride(self) -> Tensor:
        """Pixels a cell, for each detection level."""
        return self.detect.stride

    @property
    def stride_px(self) -> int:
        """What the sides of an image must be multiples of: the largest stride of any row, not only of the levels."""
        return self._stride_px

    @property
    def nc(self) -> int:
        """Number of classes."""
        return self.spec.nc

    @property
    def channels(self) -> int:
        """Channels of the images that it reads."""
        return self.spec.channels

    @property
    def yaml(self) -> dict[str, Any]:
        """The complete layer list as a mapping, as YOLOv5's models have it."""
        return {**yaml.safe_load(layer_list(self.spec)), "ch": self.channels}

    def set_names(self, names: Sequence[str] | Mapping[int, str]) -> None:
        """Name the classes.

        Raises:
            ValueError: If there is not one name a class.
        """
        mapping = dict(names) if isinstance(names, Mapping) else dict(enumerate(names))
        if sorted(mapping) != list(range(self.nc)):
            raise ValueError(f"expected names for the classes 0 to {self.nc - 1} but got {mapping!r}")
        self.names = {i: str(mapping[i]) for i in range(self.nc)}

    def features(self, images: Tensor) -> list[Tensor]:
        """The maps that the head reads, finest first."""
        kept: dict[int, Tensor] = {IMAGE: images}
        for row, module in enumerate(list(self.model)[:-1]):
            sources = self._sources[row]
            inputs = [kept[s] for s in sources]
            for s in set(sources):
                if self._last_use[s] == row:
                    del kept[s]
            kept[row] = module(inputs if self._joins[row] else inputs[0])
            del inputs
        return [kept[s] for s in self._sources[-1]]

    def raw(self, images: Tensor) -> list[Tensor]:
        """The head's raw maps, in either mode; `detect.decode` turns them into boxes."""
        return self.detect.raw(self.features(images))

    def forward(self, images: Tensor) -> list[Tensor] | Tensor:
        """See the class."""
        return self.detect(self.features(images))

    @property
    def is_fused(self) -> bool:
        """Whether `fuse` was called."""
        return any(isinstance(m, Conv) and not isinstance(m.bn, nn.BatchNorm2d) for m in self.modules())

    def keep_in_eval(self, modules: Iterable[nn.Module]) -> None:
        """Modules that stay in eval mode whenever the model goes into training mode: the norms of frozen rows."""
        self._kept_in_eval = tuple(modules)
        self.train(self.training)

    def train(self, mode: bool = True) -> DetectionModel:
        """Go into training mode or eval mode; see `keep_in_eval`."""
        super().train(mode)
        for module in self._kept_in_eval:
            module.eval()
        return self

    @torch.no_grad()
    def _try_out(self) -> None:
        """Pass one small blank image through the rows, so that what cannot run is refused by its row.

        Raises:
            ValueError: If a row cannot run, or a level has another size than its stride says.
        """
        parameter = next(self.parameters())
        if parameter.is_meta:
            return
        side_px = self.stride_px * (2 if self.stride_px <= 32 else 1)  # attention maps grow with its fourth power
        image = parameter.new_zeros(1, self.spec.channels, side_px, side_px)
        kept: dict[int, Tensor] = {IMAGE: image}
        self.eval()
        for row, module in enumerate(list(self.model)[:-1]):
            inputs = [kept[s] for s in self._sources[row]]
            try:
                kept[row] = module(inputs if self._joins[row] else inputs[0])
            except _UNFIT as error:
                raise ValueError(
                    f"{_shown(self.spec, row)} cannot run on {_shapes(inputs)}: {_first(error)}"
                ) from error
        for source, stride in zip(self._sources[-1], self.stride.tolist(), strict=True):
            height, width = kept[source].shape[-2:]
            if (height, width) != (side_px / stride,) * 2:
                raise ValueError(
                    f"{_shown(self.spec, source)} is read by Detect at stride {stride:g}, but makes {height}x{width} "
                    f"cells of {side_px}x{side_px} px; expected kernels and paddings that make {side_px / stride:g} "
                    "a side"
                )
        self.train()

    def fuse(self) -> DetectionModel:
        """Fold every batch normalisation that follows a convolution into it; eval mode only. Returns the model."""
        if self.training:
            raise ValueError("fuse() needs eval mode: call model.eval() first")
        for module in list(self.modules()):
            if isinstance(module, (Conv, RepVGGBlock)):
                module.fuse()
        return self


def build_model(spec: ModelSpec) -> DetectionModel:
    """Build the network of a spec, with fresh weights, in training mode.

    Raises:
        ValueError: If the graph is wrong; names the file, the row and the remedy (see `models.graph`).
    """
    return DetectionModel(spec)


def _make(spec: ModelSpec, graph: Sequence[GraphRow], index: int) -> nn.Module:
    row = graph[index]
    try:
        if row.plan is not None:
            return row.plan.make()
        strides = [float(graph[s].stride) for s in row.layer.source]
        return Detect(spec.nc, head_anchors(spec).levels, row.inputs, strides)
    except _UNFIT as error:
        raise ValueError(f"{_shown(spec, index)} cannot be built: {_first(error)}") from error


def _shown(spec: ModelSpec, row: int) -> str:
    return f"{where(spec, row)}: {row_text(spec, row)}"


def _shapes(maps: Sequence[Tensor]) -> str:
    return " and ".join("x".join(map(str, tensor.shape[1:])) for tensor in maps)


def _first(error: Exception) -> str:
    """The first line of an error's message; torch adds many."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _cell_grid(height: int, width: int, device: torch.device) -> Tensor:
    """Column and row of every cell, (1, 1, H, W, 2)."""
    y = torch.arange(height, device=device, dtype=torch.float32)
    x = torch.arange(width, device=device, dtype=torch.float32)
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((columns, rows), 2).view(1, 1, height, width, 2)


def _last_uses(sources: Sequence[Sequence[int]]) -> dict[int, int]:
    """From each row to the last row that reads it, so that its map can be let go."""
    return {source: row for row, read in enumerate(sources) for source in read}


def start_norms(model: nn.Module) -> None:
    """YOLOv5's batch normalisation constants, which its weights were trained with; activations in place where free."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3
            module.momentum = 0.03
        elif isinstance(module, _INPLACE):
            module.inplace = True


def _set_activation(model: nn.Module, spec: ModelSpec) -> None:
    try:
        activation = parse_activation(str(spec.activation))
    except ValueError as error:
        raise ValueError(f"{spec.file}: {error}") from error
    if isinstance(activation, _INPLACE):
        activation.inplace = True
    for module in model.modules():
        if isinstance(module, Conv) and module.has_default_act:
            module.act = copy.deepcopy(activation)
