"""What a repository of the original YOLOv5 is to a weights file: classes of its names, written anew from its documents.

Run by itself, away from this project: `python original_reader.py weights.pt image.pt output.pt [module.py …]` reads
the weights as `torch.load` does there and saves what the model gives for the image.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import nn


class Conv(nn.Module):
    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    def forward(self, x):
        y = self.cv2(self.cv1(x))
        return x + y if self.add else y


class C3(nn.Module):
    def forward(self, x):
        return self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))


class SPPF(nn.Module):
    def forward(self, x):
        maps = [self.cv1(x)]
        while len(maps) < 4:
            maps.append(self.m(maps[-1]))
        return self.cv2(torch.cat(maps, 1))


class Concat(nn.Module):
    def forward(self, x):
        return torch.cat(x, self.d)


class Detect(nn.Module):
    def forward(self, x):
        found = []
        for level in range(self.nl):
            b, _, h, w = x[level].shape
            y = self.m[level](x[level]).view(b, self.na, self.no, h, w).permute(0, 1, 3, 4, 2).sigmoid()
            rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            y[..., :2] = (y[..., :2] * 2 - 0.5 + torch.stack((columns, rows), 2)) * self.stride[level]
            y[..., 2:4] = (y[..., 2:4] * 2) ** 2 * (self.anchors[level] * self.stride[level]).view(1, -1, 1, 1, 2)
            found.append(y.reshape(b, -1, self.no))
        return torch.cat(found, 1)


class Model(nn.Module):
    def forward(self, x):
        kept = []
        for m in self.model:
            if m.f != -1:
                x = kept[m.f] if isinstance(m.f, int) else [x if j == -1 else kept[j] for j in m.f]
            x = m(x)
            kept.append(x if m.i in self.save else None)
        return x


def module(name: str, *classes: type) -> None:
    made = sys.modules[name] = ModuleType(name)
    for cls in classes:
        cls.__module__ = name
        setattr(made, cls.__name__, cls)


def main(weights: str, image: str, output: str, *files: str) -> None:
    module("models")
    module("models.common", Conv, Bottleneck, C3, SPPF, Concat)
    module("models.yolo", Detect, Model)
    for file in files:  # copied into models/
        spec = importlib.util.spec_from_file_location(f"models.{Path(file).stem}", file)
        sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[spec.name])
    checkpoint = torch.load(weights, map_location="cpu", weights_only=False)
    model = checkpoint["model"].float().eval()
    with torch.no_grad():
        found = model(torch.load(image))
    facts = {"names": model.names, "nc": model.nc, "yaml": model.yaml, "stride": model.stride.tolist()}
    torch.save({"found": found, "keys": list(model.state_dict()), **facts, "epoch": checkpoint["epoch"]}, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
