"""Every option of the further modules changes the parameters or the output."""

import pytest
import torch

from models.attention import accepted_options, create_attention
from tests.support.reference import randomise

# name, options that both modules have, the option in question, another value than its default.
CASES = [
    ("SimAM", {}, "e_lambda", 0.1),
    ("EMA", {}, "factor", 4),
    ("GlobalContext", {}, "ratio", 0.5),
    ("GlobalContext", {}, "fusion", "add"),
    ("GlobalContext", {}, "variant", "authors"),
    ("TripletAttention", {}, "no_spatial", True),
    ("EffectiveSE", {}, "add_maxpool", True),
    ("SKAttention", {}, "kernels", [3, 5]),
    ("SKAttention", {"min_width": 1}, "reduction", 4),
    ("SKAttention", {}, "groups", 2),
    ("SKAttention", {}, "min_width", 8),
    ("DoubleAttention", {}, "c_m", 8),
    ("DoubleAttention", {}, "c_n", 8),
    ("DoubleAttention", {"c_m": 16}, "reconstruct", False),
    ("LSKA", {}, "kernel_size", 11),
    ("MHSA", {"pos_emb": True}, "width", 7),
    ("MHSA", {"pos_emb": True}, "height", 7),
    ("MHSA", {}, "heads", 2),
    ("MHSA", {}, "pos_emb", True),
    ("MHSA", {"pos_emb": True}, "variant", "authors"),
    ("ELA", {}, "variant", "authors"),
    ("ELA", {}, "kernel_size", 3),
    ("ELA", {}, "groups", 8),
    ("MLCA", {}, "local_size", 3),
    ("MLCA", {}, "gamma", 1),
    ("MLCA", {}, "b", 5),
    ("MLCA", {}, "local_weight", 0.2),
    ("MLCA", {}, "seams", False),
    ("CPCA", {}, "reduction", 2),
    ("CAA", {}, "h_kernel_size", 5),
    ("CAA", {}, "v_kernel_size", 5),
    ("CoTAttention", {}, "kernel_size", 5),
    ("BiLevelRoutingAttention", {"topk": 2}, "n_win", 3),
    ("BiLevelRoutingAttention", {}, "heads", 4),
    ("BiLevelRoutingAttention", {}, "topk", 2),
    ("DAttention", {"dwc_pe": False}, "q_size", [5, 5]),
    ("DAttention", {}, "heads", 4),
    ("DAttention", {}, "groups", 2),
    ("DAttention", {}, "kernel_size", 5),
    ("DAttention", {}, "offset_range_factor", 1),
    ("DAttention", {}, "dwc_pe", False),
    ("Timm", {}, "layer", "se"),
]
ELSEWHERE = {("NAM", "detach"), ("BiLevelRoutingAttention", "auto_pad")}  # a gradient; a refusal
MODULES = {name for name, *_ in CASES} | {name for name, _ in ELSEWHERE}


def outcome(name, options):
    """Shapes of the state and an output, with parameters that depend on their number alone."""
    module = randomise(create_attention(name, 16, **options)).eval()
    shapes = {key: value.shape for key, value in module.state_dict().items()}
    return shapes, module(torch.randn(1, 16, 9, 8, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(("name", "common", "option", "value"), CASES, ids=lambda value: str(value))
def test_an_option_matters(name, common, option, value):
    assert accepted_options(name)[option] != value
    shapes, output = outcome(name, common)
    other_shapes, other_output = outcome(name, {**common, option: value})
    assert shapes != other_shapes or (output - other_output).abs().max() > 1e-4


def test_no_option_is_forgotten():
    covered = {(name, option) for name, _, option, _ in CASES} | ELSEWHERE
    assert covered == {(name, option) for name in MODULES for option in accepted_options(name)}


def test_the_gradient_of_nam_depends_on_detach():
    gradients = []
    for detach in (True, False):
        module = randomise(create_attention("NAM", 8, detach=detach)).eval()
        module(torch.linspace(-1, 1, 8 * 9).view(1, 8, 3, 3)).sum().backward()
        gradients.append(module.bn2.weight.grad)
    assert (gradients[0] - gradients[1]).abs().max() > 1e-4
