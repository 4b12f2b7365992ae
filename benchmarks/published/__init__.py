"""Every attention module as its authors or the widely used release published it, for tests and benchmarks."""

from torch import nn

from benchmarks.published.gates_published import PUBLISHED
from benchmarks.published.mixed_published import PUBLISHED_MORE

OPPONENTS: dict[str, type[nn.Module]] = {**PUBLISHED, **PUBLISHED_MORE}
"""Canonical name of the project's module -> its plain form."""

__all__ = ["OPPONENTS", "PUBLISHED"]
