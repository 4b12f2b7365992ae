"""Each loss of objectness and classes against its paper's formula, written with plain floats."""

import math

import pytest
import torch

from data.hyp import BINARY_LOSSES
from models.binary_losses import binary_loss

MEAN = 0.45


def written_out(kind: str, logit: float, target: float, overlap: float, gamma: float) -> float:
    p = 1 / (1 + math.exp(-logit))
    bce = -target * math.log(p) - (1 - target) * math.log(1 - p)
    if kind == "bce" and gamma == 0:
        return bce
    if kind in ("bce", "focal"):
        of_target = target * p + (1 - target) * (1 - p)
        return (target * 0.25 + (1 - target) * 0.75) * (1 - of_target) ** (gamma or 1.5) * bce
    if kind == "qfocal":
        return abs(target - p) ** (gamma or 2) * bce
    if kind == "varifocal":
        return target * bce if target > 0 else -0.75 * p ** (gamma or 2) * math.log(1 - p)
    if overlap <= MEAN - 0.1:
        return bce
    return bce * math.exp(1 - (MEAN if overlap < MEAN else overlap))


@pytest.mark.parametrize("gamma", [0.0, 0.7])
@pytest.mark.parametrize("kind", BINARY_LOSSES)
def test_as_the_paper_has_it(kind, gamma):
    logits = torch.randn(40, dtype=torch.float64) * 3
    targets = torch.rand(40, dtype=torch.float64).where(torch.arange(40) % 3 > 0, torch.zeros(()).double())
    overlap = torch.rand(40, dtype=torch.float64)
    mean = torch.tensor(MEAN).double()
    got = binary_loss(logits, targets, 1.0, gamma, kind=kind, overlap=overlap, mean_overlap=mean)
    rows = zip(logits.tolist(), targets.tolist(), overlap.tolist(), strict=True)
    wanted = torch.tensor([written_out(kind, *row, gamma) for row in rows], dtype=torch.float64)
    torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", BINARY_LOSSES)
def test_gradients_and_extremes(kind):
    logits = (torch.randn(12, dtype=torch.float64) * 3).requires_grad_()
    targets = torch.tensor([0, 0.3, 0.6, 1.0] * 3, dtype=torch.float64)
    options = {"kind": kind, "overlap": targets, "mean_overlap": torch.tensor(MEAN).double()}
    assert torch.autograd.gradcheck(lambda x: binary_loss(x, targets, **options), (logits,))
    far = torch.tensor([-200.0, 200.0, 0.0, -200.0], requires_grad=True)
    edge = torch.tensor([0.0, 1.0, 0.5, 1.0])
    loss = binary_loss(far, edge, kind=kind, overlap=edge, mean_overlap=torch.tensor(MEAN))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert far.grad is not None
    assert far.grad.isfinite().all()
