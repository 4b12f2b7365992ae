"""`--compile`: which batches run compiled, what a compiler's failure says, and a whole run with it."""

import pytest
import torch
from torch import nn

from engine.training.compiled_forward import CompiledForward
from engine.training.results_csv import ResultsFile
from engine.training.run_training import train


class Doubled(nn.Module):
    """A network that fails on request."""

    mistake = False

    def forward(self, x):
        if self.mistake:
            raise IndexError("the network's own")
        return [2 * x]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()


@pytest.fixture
def calls():
    """Shapes that went through the compiled code."""
    return []


@pytest.fixture
def backend(calls):
    def compile_graph(graph, inputs):
        def run(*values):
            calls.append(tuple(next(v for v in values if torch.is_tensor(v)).shape))
            return graph(*values)

        return run

    return compile_graph


def test_only_whole_batches_run_compiled(backend, calls):
    forward = CompiledForward(Doubled(), (4, 3, 8, 8), backend=backend)
    for count in (4, 3, 4):
        images = torch.rand(count, 3, 8, 8)
        torch.testing.assert_close(forward(images), [2 * images])
    assert calls == [(4, 3, 8, 8)] * 2


def test_the_network_keeps_its_names(backend):
    network = nn.Sequential(nn.Conv2d(3, 2, 1))
    forward = CompiledForward(network, (2, 3, 8, 8), backend=backend)
    forward(torch.rand(2, 3, 8, 8))
    assert list(network.state_dict()) == ["0.weight", "0.bias"]


def test_a_machine_that_cannot_compile_is_told_so():
    def broken(graph, inputs):
        raise RuntimeError("g++: command not found")

    forward = CompiledForward(Doubled(), (1, 3, 8, 8), backend=broken)
    with pytest.raises(ValueError, match=r"--compile: .*g\+\+: command not found.*leave --compile out"):
        forward(torch.rand(1, 3, 8, 8))


def test_the_networks_own_error_stays(backend):
    network = Doubled()
    network.mistake = True
    with pytest.raises(IndexError, match="the network's own"):
        CompiledForward(network, (1, 3, 8, 8), backend=backend)(torch.rand(1, 3, 8, 8))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning", "ignore::FutureWarning:lightning")
def test_a_compiled_run_follows_the_plain_one(configure, capsys):
    rows = []
    for compiled in (False, True):
        folder = train(configure(compile=compiled, epochs=3)).folder
        rows.append(ResultsFile(folder / "results.csv").rows())
    assert "--compile: the first batch takes a minute" in capsys.readouterr().out
    for plain, fast in zip(*rows, strict=True):
        for name in ("train/box_loss", "train/obj_loss", "train/cls_loss"):
            assert fast[name] == pytest.approx(plain[name], rel=1e-3)
