"""A stand-in for a trained model: it finds the bounding boxes of pure red and of pure green areas."""

import torch
from torch import nn


class _Head:
    """Rows (cx, cy, w, h, objectness, scores…) pass through `decode` unchanged."""

    def decode(self, raw):
        return raw[0]


class RedBoxes(nn.Module):
    """Class 0 is red with confidence 0.9, class 1 green with 0.6; boxes are exact in pixels of the network's input."""

    def __init__(self, names=("red", "green")):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.stride = torch.tensor([8.0, 16.0, 32.0])
        self.stride_px = 32
        self.names = dict(enumerate(names))
        self.nc = len(names)
        self.detect = _Head()
        self.batches = []

    def set_names(self, names):
        self.names = dict(names)

    def fuse(self):
        return self

    def raw(self, images):
        self.batches.append(tuple(images.shape))
        rows = torch.zeros(len(images), 2, 5 + self.nc)
        for i, (red, green, blue) in enumerate(images):
            for k, (one, other) in enumerate(((red, green), (green, red))):
                ys, xs = ((one > 0.9) & (other < 0.1) & (blue < 0.1)).nonzero(as_tuple=True)
                if len(ys):
                    x1, y1, x2, y2 = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
                    rows[i, k, :4] = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])
                    rows[i, k, 4] = (0.9, 0.6)[k]
                    rows[i, k, 5 + k] = 1.0
        return [rows]
