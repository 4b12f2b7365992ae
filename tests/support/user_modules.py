"""Files with classes as a user writes them, and their removal after a test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.attention import ATTENTION
from models.user_modules import load_modules, table

GATE = """
from torch import nn


class Gate(nn.Module):
    def __init__(self, channels, r=16):
        super().__init__()
        hidden = max(1, channels // r)
        self.fc = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid())

    def forward(self, x):
        return x * self.fc(x.mean((2, 3), keepdim=True))
"""
"""The recipe of CONTRIBUTING.md: a gate as SE's."""

Load = Callable[..., Path]


@contextmanager
def forgotten_afterwards() -> Iterator[None]:
    """What is loaded and registered inside is unknown again behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "_TABLES", dict(table._TABLES))
        patch.setattr(table, "_READ", {})
        before = set(ATTENTION)
        try:
            yield
        finally:
            for name in set(ATTENTION) - before:
                del ATTENTION[name]


def written(folder: Path, text: str = GATE, name: str = "own.py") -> Path:
    """A file of the user, loaded."""
    file = folder / name
    file.write_text(text, encoding="utf-8")
    load_modules(file)
    return file
