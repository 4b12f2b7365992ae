import builtins

import pytest
import torch

from models.attention import Timm, attention_maps, create_attention
from models.attention.timm_layer import LAYERS

timm_layers = pytest.importorskip("timm.layers")


@pytest.mark.parametrize(
    ("layer", "options"),
    [("eca", {}), ("eca", {"kernel_size": 5}), ("se", {"rd_ratio": 0.25}), ("gc", {}), ("cbam", {}), ("coord", {})],
)
def test_equals_the_layer_of_timm(layer, options):
    torch.manual_seed(1)
    expected = timm_layers.create_attn(layer, 32, **options).eval()
    module = create_attention("Timm", 32, layer=layer, **options).eval()
    module.layer.load_state_dict(expected.state_dict())
    x = torch.randn(2, 32, 9, 7)
    torch.testing.assert_close(module(x), expected(x), rtol=0, atol=0)


@pytest.mark.parametrize("start", ["paper", "identity"])
@pytest.mark.parametrize(
    ("layer", "kind"),
    [("eca", "channel"), ("gc", "channel"), ("cbam", "full"), ("coord", "full"), ("nl", None), ("gca", None)],
)
def test_the_gate_is_what_the_map_is_multiplied_with(layer, kind, start):
    torch.manual_seed(0)
    module = create_attention("Timm", 16, layer=layer, start=start).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        x = torch.randn(2, 16, 7, 9)
        gates = attention_maps(module, x)[""]
        assert list(gates) == [kind] * (kind is not None)
        for gate in gates.values():
            torch.testing.assert_close(x * gate, module(x))
    assert not any(part._forward_hooks for part in module.modules())


def test_the_names_are_those_of_the_installed_timm():
    for name in LAYERS:
        assert timm_layers.get_attn(name) is not None
    with pytest.raises(AssertionError):
        timm_layers.get_attn("eca2")


def test_an_unknown_layer_names_the_nearest():
    with pytest.raises(
        ValueError, match="Expected `layer` to be a timm attention layer but got 'ecca'; did you mean '"
    ):
        Timm(16, layer="ecca")
    with pytest.raises(ValueError, match="but got 'zzzzzz'; known: se, ese, eca"):
        Timm(16, layer="zzzzzz")


def test_an_unknown_option_names_those_of_the_layer():
    with pytest.raises(ValueError, match=r"timm's 'se' but got 'kernel_size'; it takes rd_ratio, rd_channels"):
        Timm(16, layer="se", kernel_size=3)
    with pytest.raises(ValueError, match="but got 'use_mlp'"):
        Timm(16, layer="ecam", use_mlp=False)  # what the short name stands for
    with pytest.raises(ValueError, match="the timm layer is called `layer`: layer='se'"):
        create_attention("Timm", 16, name="se")


def test_layers_that_change_the_shape_are_refused():
    with pytest.raises(ValueError, match=r"Expected timm's 'sk' to keep the shape \(1, 16, 8, 8\) but it gives"):
        Timm(16, layer="sk", stride=2)
    with pytest.raises(ValueError, match=r"Expected timm's 'splat' to keep the shape \(1, 16, 8, 8\) but it gives"):
        Timm(16, layer="splat", out_channels=32)


def test_layers_that_need_what_a_row_cannot_give_are_refused():
    with pytest.raises(ValueError, match="timm's 'bottleneck' cannot be built for 16 channels with no options"):
        Timm(16, layer="bottleneck")
    with pytest.raises(ValueError, match=r"timm's 'bat' does not take a map \(1, 16, 8, 8\): AssertionError"):
        Timm(16, layer="bat")


def test_a_missing_timm_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def without_timm(name, *args, **kwargs):
        if name.startswith("timm"):
            raise ModuleNotFoundError("No module named 'timm'", name="timm")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_timm)
    with pytest.raises(ValueError, match="which is not installed; run: pip install timm"):
        Timm(16)


@pytest.mark.parametrize("layer", ["eca", "se", "sk", "gca", "nl"])
def test_identity_learns(layer):
    module = Timm(16, layer=layer, start="identity")
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    x = torch.randn(2, 16, 6, 6)
    assert torch.equal(module.eval()(x), x)
    module.train()
    learned = set()
    for _ in range(3):
        optimizer.zero_grad()
        module(x).square().sum().backward()
        learned |= {key for key, p in module.named_parameters() if p.grad is not None and p.grad.any()}
        optimizer.step()
    assert learned - {"strength"}
    assert module.strength.item() != 0


def test_building_does_not_touch_the_random_state():
    def numbers(layer):
        torch.manual_seed(3)
        timm_layers.create_attn("eca", 16) if layer is None else Timm(16, layer=layer)
        return torch.rand(3)

    torch.testing.assert_close(numbers("eca"), numbers(None), rtol=0, atol=0)


def test_a_single_training_value_does_not_raise():
    module = Timm(16, layer="sk").train()
    assert module(torch.randn(1, 16, 1, 1)).isfinite().all()
    assert module.layer.training
