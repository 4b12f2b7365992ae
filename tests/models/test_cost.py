import weakref

import pytest
import torch
from torch import nn

from models import build_model, load_spec
from models.attention import create_attention
from models.cost import count_macs, count_parameters, kept_bytes


def test_counts_by_hand():
    conv = nn.Conv2d(3, 8, 3, padding=1)
    assert count_parameters(conv) == 8 * 3 * 9 + 8
    assert count_macs(conv, torch.zeros(2, 3, 5, 7)) == 2 * 5 * 7 * 8 * 3 * 9


def test_a_module_without_products_has_none():
    assert count_macs(create_attention("SimAM", 16), torch.zeros(1, 16, 4, 4)) == 0


def test_fused_attention_is_counted():
    heads, channels, positions = 4, 32, 6 * 6
    module = create_attention("MHSA", channels, heads=heads)
    projections = 3 * channels * channels * positions
    products = 2 * channels * positions * positions
    assert count_macs(module, torch.zeros(1, channels, 6, 6)) == projections + products


def test_yolov5n_is_the_published_4_5_gflops():
    model = build_model(load_spec("yolov5n.yaml"))
    assert 2 * count_macs(model, torch.zeros(1, 3, 640, 640)) / 1e9 == pytest.approx(4.5, abs=0.05)
    assert model.training


def test_memory_kept_for_the_backward_pass_by_hand():
    x = torch.zeros(1, 4, 8, 8)
    assert kept_bytes(nn.Conv2d(4, 4, 1, bias=False), x) == 4 * 64 * 4  # its input
    assert kept_bytes(nn.Sigmoid(), x) == 4 * 64 * 4  # its output


def test_nothing_is_held_once_the_memory_is_counted():
    outputs = []
    module = nn.Sigmoid()
    module.register_forward_hook(lambda _module, _inputs, output: outputs.append(weakref.ref(output)))
    kept_bytes(module, torch.zeros(1, 4, 8, 8))
    assert [output() for output in outputs] == [None]
