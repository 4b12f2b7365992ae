"""What every attention module promises, for every entry of the registry.

The claims that take long (inductor, the dynamo exporter, the largest maps) run for every module under `slow`.
"""

import copy
import gc
import inspect
import math
import pickle
import re

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.attention import (
    ALIASES,
    ATTENTION,
    accepted_options,
    attention_maps,
    canonical_name,
    collect_gates,
    create_attention,
    list_attention,
)
from tests.support.reference import randomise

SIZES = [(1, 1, 1), (2, 7, 7), (1, 13, 21)]
LARGE_SIZES = [(2, 1, 1), (1, 7, 7), (2, 13, 21), (1, 20, 20), (2, 20, 20), (1, 80, 80), (2, 80, 80)]
VARIANTS = [(name, {"variant": "authors"}) for name in list_attention() if "variant" in accepted_options(name)]
CASES = [*((name, {}) for name in list_attention()), *VARIANTS]
# A foreign layer wrapped as it is: nothing is known about its inside, so identity costs it one more pass.
WRAPPERS = {"Timm"}
# Published as a transform without a gate and without the input: to be the identity, the input is added once.
ADDITIONS = {"BiLevelRoutingAttention", "CPCA", "CoTAttention", "DAttention", "MHSA", "S2Attention"}

every_module = pytest.mark.parametrize("name", list_attention())
every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{n}{'-authors' * bool(o)}" for n, o in CASES])


def build(name, wanted=16, **options):
    """The module with the wanted channels, or with the nearest count that its refusal names."""
    try:
        return create_attention(name, wanted, **options)
    except ValueError as refusal:
        message = str(refusal)
    nearest = re.search(r"nearest\D* (\d+)", message)
    assert nearest, f"{name} refuses {wanted} channels without naming the nearest that work: {message}"
    return create_attention(name, int(nearest[1]), **options)


def image(module, size=(2, 7, 9)):
    return torch.randn(size[0], module.channels, *size[1:])


# Shapes and arguments


@every_case
@pytest.mark.parametrize("training", [False, True])
def test_keeps_the_shape(name, options, training):
    for wanted in (8, 24):
        module = build(name, wanted, **options).train(training)
        for size in SIZES:
            x = image(module, size)
            y = module(x)
            assert y.shape == x.shape
            assert bool(y.isfinite().all())


@pytest.mark.slow
@every_case
def test_keeps_every_shape(name, options):
    for wanted in (8, 17, 100, 255):
        module = build(name, wanted, **options)
        for size in LARGE_SIZES:
            for training in (False, True):
                x = image(module, size)
                with torch.no_grad():
                    y = module.train(training)(x)
                assert y.shape == x.shape
                assert bool(y.isfinite().all())


@every_module
@pytest.mark.parametrize("channels", [1, 7, 100])
def test_a_refusal_names_channels_that_work(name, channels):
    module = build(name, channels)
    assert module(image(module, (1, 3, 4))).shape[1] == module.channels


@every_module
def test_an_empty_batch_stays_empty(name):
    for training in (False, True):
        module = build(name).train(training)
        assert module(image(module, (0, 7, 9))).shape == (0, module.channels, 7, 9)
        assert all(bool(buffer.isfinite().all()) for buffer in module.buffers())


@every_module
def test_wrong_arguments_are_refused(name):
    with pytest.raises(ValueError, match="no_such_option"):
        create_attention(name, 16, no_such_option=1)
    with pytest.raises(ValueError, match="Expected `start` to be one of 'paper', 'identity' but got 'random'"):
        create_attention(name, 16, start="random")
    for channels in (0, -8, 2.5, True):
        with pytest.raises(ValueError, match="Expected `channels` to be an integer of at least 1"):
            create_attention(name, channels)


@every_module
def test_the_constructor_takes_channels_then_keywords(name):
    parameters = list(inspect.signature(ATTENTION[name]).parameters.values())
    assert parameters[0].name == "channels"
    assert all(p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in parameters[1:])
    assert isinstance(build(name), ATTENTION[name])
    assert type(build(name)).__name__ == name
    with pytest.raises(TypeError):
        ATTENTION[name](16, 16)


@every_module
def test_is_documented(name):
    cls = ATTENTION[name]
    assert "Identity start:" in cls.__doc__
    assert cls.PAPER
    assert 2000 < cls.YEAR < 2100
    accepted = set(accepted_options(name))
    assert {option for option in cls.POSITIONAL if option != "out_channels"} <= accepted
    assert inspect.getmodule(cls).__doc__


def test_names():
    assert list_attention() == sorted(ATTENTION)
    for alias, name in ALIASES.items():
        assert alias not in ATTENTION
        assert canonical_name(alias) == name
    with pytest.raises(ValueError, match="but got 'CBam'; did you mean 'CBAM'"):
        canonical_name("CBam")
    with pytest.raises(ValueError, match="did you mean 'CoordAtt'"):
        create_attention("CoordAtten", 16)
    with pytest.raises(ValueError, match=r"CBAM has no option 'rate'; it takes start, reduction"):
        create_attention("CBAM", 16, rate=4)


def test_a_name_is_registered_once():
    from models.attention.parts.registry import register

    with pytest.raises(ValueError, match=r"'SE' is already models\.attention\.se\.SE"):
        register("SE")(ATTENTION["SE"])
    with pytest.raises(ValueError, match="'SGE' is already an alias of 'SpatialGroupEnhance'"):
        register("SGE")(ATTENTION["SE"])


# Learning


def step(module, x, rate=1e-3):
    """Gradients of a loss that no output value escapes, followed by one step of gradient descent."""
    module.zero_grad()
    x = x.detach().requires_grad_()
    module(x).square().mul(torch.linspace(0.5, 1.5, x.numel()).view(x.shape)).sum().backward()
    gradients = {key: parameter.grad for key, parameter in module.named_parameters()}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter -= rate * parameter.grad if parameter.grad is not None else 0
    return gradients


@every_case
@pytest.mark.parametrize("start", ["paper", "identity"])
def test_every_parameter_gets_a_finite_gradient(name, options, start):
    module = build(name, start=start, **options)
    gradients = step(module, image(module))
    for key, gradient in gradients.items():
        assert gradient is not None, f"{key} has no gradient"
        assert bool(gradient.isfinite().all()), f"{key} has a gradient that is not finite"


@every_case
@pytest.mark.parametrize("start", ["paper", "identity"])
def test_every_parameter_learns_within_two_steps(name, options, start):
    # In eval mode, where a bias before a batch normalisation has an effect.
    module = build(name, 64, start=start, **options).eval()
    x = image(module, (4, 7, 9))
    learning = {key for _ in range(2) for key, gradient in step(module, x).items() if gradient.any()}
    assert {key for key, _ in module.named_parameters()} - learning <= set(module.INERT)


@every_case
@pytest.mark.parametrize("size", [*SIZES, (2, 20, 20)])
def test_identity_start_returns_the_input(name, options, size):
    module = build(name, start="identity", **options).eval()
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = image(module, size).to(memory_format=memory_format)
        assert torch.equal(module(x), x)
        with torch.no_grad():
            assert torch.equal(module(x), x)


@every_case
def test_both_starts_have_the_same_state(name, options):
    paper, identity = (build(name, start=start, **options).state_dict() for start in ("paper", "identity"))
    assert {key: value.shape for key, value in paper.items()} == {key: value.shape for key, value in identity.items()}


class Passes(TorchDispatchMode):
    """Counts the operations that write a tensor of at least `size` elements."""

    def __init__(self, size):
        super().__init__()
        self.size, self.count = size, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        aliases = any(r.alias_info is not None for r in function._schema.returns)
        writes = not aliases or function._schema.name.endswith("_")
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor) and writes and tensor.numel() >= self.size:
                self.count += 1
        return result


def passes(module, x):
    with torch.no_grad(), Passes(x.numel()) as counter:
        module(x)
    return counter.count


@every_case
def test_identity_start_takes_no_extra_pass(name, options):
    if name in WRAPPERS:
        pytest.skip("a wrapped layer takes one more pass; its docstring says so")
    paper, identity = (build(name, start=start, **options).eval() for start in ("paper", "identity"))
    x = image(paper, (2, 24, 24))
    assert passes(identity, x) <= passes(paper, x) + (name in ADDITIONS)


# Precision, memory format, determinism


@every_case
@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_autocast_stays_finite_and_keeps_the_dtype(name, options, low):
    module = build(name, **options)
    for dtype in (low, torch.float32):
        for scale in (1e-3, 1.0, 1e3):
            for training in (True, False):
                x = (image(module) * scale).to(dtype).requires_grad_()
                with torch.autocast("cpu", low):
                    y = module.train(training)(x)
                assert y.dtype == dtype
                assert bool(y.isfinite().all()), f"{dtype} input of scale {scale}"


@every_case
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_float32_stays_finite(name, options, scale):
    module = build(name, **options)
    x = (image(module) * scale).requires_grad_()
    y = module(x)
    y.sum().backward()
    assert bool(y.isfinite().all())
    assert bool(x.grad.isfinite().all())


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_channels_last_stays_channels_last(name, options, dtype):
    module = randomise(build(name, **options)).eval()
    x = image(module).contiguous(memory_format=torch.channels_last)
    leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        y = module(leaf.to(dtype))
        with torch.no_grad():
            inferred = module(x.to(dtype))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert inferred.is_contiguous(memory_format=torch.channels_last)
    if dtype is torch.float32:
        torch.testing.assert_close(y.detach(), module(x.contiguous()).detach(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(inferred, y.detach(), rtol=1e-4, atol=1e-4)


@every_case
def test_a_strided_input_gives_the_same(name, options):
    module = randomise(build(name, **options)).eval()
    wide = image(module, (2, 14, 18))
    part = wide[:, :, ::2, ::2]
    torch.testing.assert_close(module(part), module(part.contiguous()), rtol=1e-4, atol=1e-4)


@every_case
def test_backward_is_deterministic(name, options):
    module = randomise(build(name, **options))
    start = copy.deepcopy(module.state_dict())
    x = image(module).requires_grad_()
    runs = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            module.load_state_dict(start)
            runs.append(torch.autograd.grad(module(x).square().sum(), [x, *module.parameters()]))
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@every_case
def test_an_image_does_not_depend_on_its_neighbours(name, options):
    module = randomise(build(name, **options)).eval()
    x = image(module, (3, 7, 9))
    other = x.clone()
    other[1:] = torch.randn_like(other[1:]) * 10
    torch.testing.assert_close(module(x)[0], module(other)[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(module(x)[:1], module(x[:1]), rtol=1e-4, atol=1e-5)


@every_case
def test_inference_equals_training_graph(name, options):
    module = randomise(build(name, **options)).eval()
    x = image(module)
    with torch.no_grad():
        inferred = module(x)
    torch.testing.assert_close(inferred, module(x.requires_grad_()).detach(), rtol=1e-5, atol=1e-5)


# Saving, compiling, exporting


@every_case
def test_round_trips(name, options):
    module = randomise(build(name, **options)).eval()
    x = image(module)
    expected = module(x)
    fresh = create_attention(name, module.channels, **options).eval()
    fresh.load_state_dict(module.state_dict(), strict=True)
    for copied in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module), fresh):
        assert torch.equal(copied(x), expected)


@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0:RuntimeWarning")  # torch's advice
@every_case
def test_traces_without_graph_breaks(name, options):
    module = randomise(build(name, **options)).eval()
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    x = image(module).requires_grad_()
    torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@every_case
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles(name, options, dynamic):
    module = randomise(build(name, **options))
    start = copy.deepcopy(module.state_dict())
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, dynamic=dynamic)
    for training in (True, False):
        x = image(module).requires_grad_()
        results = []
        for function in (module, compiled):
            module.train(training).load_state_dict(start)
            y = function(x)
            results.append((y, *torch.autograd.grad(y.square().sum(), [x, *module.parameters()])))
        for value, expected in zip(*reversed(results), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-3 * max(1.0, float(expected.abs().max())))


EXPORT_SIZES = [(2, 7, 9), (1, 20, 20), (3, 13, 8)]
# What the exporters say about themselves and, while tracing, about shapes that they take for constants.
quiet_export = pytest.mark.filterwarnings(
    *("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning", "ignore::torch.jit.TracerWarning")
)


def check_exported(module, path):
    """Equal to 1e-4 in onnxruntime and in OpenVINO, at three sizes other than the exported one."""
    openvino = pytest.importorskip("openvino")
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in EXPORT_SIZES:
        x = image(module, size)
        with torch.no_grad():
            expected = module(x)
        feed = {session.get_inputs()[0].name: x.numpy()}
        for output in (session.run(None, feed)[0], compiled(x.numpy())[0]):
            torch.testing.assert_close(torch.from_numpy(output), expected, rtol=1e-4, atol=1e-4)


@quiet_export
@every_case
def test_exports_by_tracing(name, options, tmp_path):
    module = randomise(build(name, **options)).eval()
    path = tmp_path / "module.onnx"
    axes = {0: "batch", 2: "height", 3: "width"}
    torch.onnx.export(
        module,
        (image(module, (2, 10, 12)),),
        path,
        dynamo=False,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": axes, "y": axes},
    )
    check_exported(module, path)


@pytest.mark.slow
@quiet_export
@every_case
def test_exports(name, options, tmp_path):
    module = randomise(build(name, **options)).eval()
    path = tmp_path / "module.onnx"
    axes = {axis: torch.export.Dim(label, min=1) for axis, label in ((0, "batch"), (2, "height"), (3, "width"))}
    torch.onnx.export(module, (image(module, (2, 10, 12)),), path, dynamo=True, dynamic_shapes=(axes,), verbose=False)
    check_exported(module, path)


# Gates


GATE_SHAPES = {
    "channel": (2, None, 1, 1),
    "spatial": (2, 1, 7, 9),
    "row": (2, None, 7, 1),
    "column": (2, None, 1, 9),
    "full": (2, None, 7, 9),
    "affinity": (2, 1, 7, 9),
}


@every_case
def test_gates_are_handed_out_on_request_only(name, options):
    module = randomise(build(name, **options)).eval()
    x = image(module)
    expected = module(x)
    assert module._gates is None
    gates = attention_maps(torch.nn.Sequential(torch.nn.Identity(), module), x)["1"]
    assert set(gates) <= set(module.GATES)
    assert bool(gates) == bool(module.GATES)
    for kind, gate in gates.items():
        assert tuple(gate.shape) == tuple(size or module.channels for size in GATE_SHAPES[kind])
        assert not gate.requires_grad
        assert bool(gate.isfinite().all())
    assert module._gates is None
    with collect_gates(module) as collected:
        torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)
    assert set(collected[""]) == set(gates)


@every_case
def test_gates_come_from_the_same_pass(name, options):
    module = build(name, **options).eval()
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    x = image(module)
    attention_maps(module, x)
    assert len(calls) == 1


def test_gates_multiply_to_what_was_applied():
    other = {"ParallelPolarizedSelfAttention": sum, "CBAM": lambda gates: 1 + gates[0] * gates[1]}
    for name in ("SE", "ECA", "BAM", "CoordAtt", "ShuffleAttention", "SpatialGroupEnhance", "GAM", *other):
        # The identity start of ShuffleAttention leaves the channels in place.
        start = "identity" if name == "ShuffleAttention" else "paper"
        module = randomise(build(name, start=start)).eval()
        x = image(module)
        gates = list(attention_maps(module, x)[""].values())
        torch.testing.assert_close(module(x), x * other.get(name, math.prod)(gates), rtol=1e-4, atol=1e-4)


def test_gates_need_a_query_inside_the_map():
    with pytest.raises(ValueError, match=r"Expected `query` to be \(row, column\)"):
        attention_maps(build("PAM"), torch.randn(1, 16, 4, 4), query=(0.5, 1.5))


def test_collection_ends_when_the_forward_pass_fails():
    module = build("SE")
    with pytest.raises(RuntimeError):
        attention_maps(module, torch.randn(1, 3, 4, 4))
    assert module._gates is None


# Memory


@pytest.fixture
def collected():
    """Nothing that was there before is looked through again, which would take most of the time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@every_module
@pytest.mark.usefixtures("collected")
def test_nothing_of_a_training_step_stays_alive(name):
    module = build(name)

    def step():
        x = image(module).requires_grad_()
        module(x * 1).square().sum().backward()
        module.zero_grad(set_to_none=True)

    step()  # what is made once, such as cached indices
    before = live_tensors()
    for _ in range(3):
        step()
    assert live_tensors() == before


def live_tensors():
    gc.collect()
    return sum(type(thing) in (torch.Tensor, torch.nn.Parameter) for thing in gc.get_objects())
