"""`--device` and `--precision`, on machines of every kind."""

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.config.flags import PRECISIONS
from engine.runtime.device import Precision, choose_precision, select_device


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A machine with so many CUDA GPUs of that capability."""
    count, capability = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


@pytest.fixture
def cpu_flags(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A machine whose kernel lists these features."""

    def read(path: Path, **options: object) -> str:
        if request.param is None:
            raise FileNotFoundError(path)
        return f"processor\t: 0\nflags\t\t: fpu {request.param}\n\nprocessor\t: 1\n"

    monkeypatch.setattr(Path, "read_text", read)


@pytest.mark.parametrize("gpus", [(0, (0, 0))], indirect=True)
@pytest.mark.parametrize("text", ["", "cpu", "CPU ", "auto"])
def test_without_a_gpu_it_is_the_cpu(gpus: None, text: str) -> None:
    assert select_device(text) == torch.device("cpu")


@pytest.mark.parametrize("gpus", [(2, (8, 0))], indirect=True)
def test_gpus_by_number(gpus: None) -> None:
    assert select_device("") == torch.device("cuda:0")
    assert select_device("1") == select_device("cuda:1") == torch.device("cuda:1")
    assert select_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="--device 2: the GPUs here are 0 to 1"):
        select_device("2")
    with pytest.raises(ValueError, match="--device 0,1: expected one device for this process but got several"):
        select_device("0,1")


@pytest.mark.parametrize("gpus", [(0, (0, 0))], indirect=True)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "--device 0: no CUDA GPU is visible here; use --device cpu"),
        ("cuda:0", "--device cuda:0: no CUDA GPU is visible here"),
        ("gpu", "--device gpu: expected cpu, mps or a GPU number such as 0"),
        ("-1", "--device -1: expected cpu, mps or a GPU number"),
        ("²", "--device ²: expected cpu, mps or a GPU number"),
    ],
)
def test_devices_that_are_not_here(gpus: None, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select_device(text)


def test_apple_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match="--device mps: this machine has no Apple GPU"):
        select_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert select_device("mps") == torch.device("mps")
    automatic = choose_precision("auto", torch.device("mps"))
    assert (automatic.dtype, automatic.reason) == (torch.float32, "fp32: the default on mps")


CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


@pytest.mark.parametrize(
    ("text", "device", "dtype"),
    [
        ("32", CPU, torch.float32),
        ("bf16", CPU, torch.bfloat16),
        ("32", CUDA, torch.float32),
        ("16", CUDA, torch.float16),
    ],
)
def test_precision_as_asked_for(text: str, device: torch.device, dtype: torch.dtype) -> None:
    found = choose_precision(text, device)
    assert found.dtype is dtype
    assert found.reason.endswith(": asked for")


@pytest.mark.parametrize(
    ("cpu_flags", "dtype", "reason"),
    [
        ("avx512_bf16 amx_bf16", torch.bfloat16, "bf16: this CPU has AMX"),
        ("avx512_bf16", torch.bfloat16, "bf16: this CPU has AVX512-BF16"),
        ("avx2 avx512f", torch.float32, "fp32: this CPU has neither AMX nor AVX512-BF16"),
        (None, torch.float32, "fp32: this CPU has neither AMX nor AVX512-BF16"),
    ],
    indirect=["cpu_flags"],
)
def test_automatic_precision_on_cpus(cpu_flags: None, dtype: torch.dtype, reason: str) -> None:
    assert choose_precision("auto", CPU) == Precision(dtype, True, reason)


@pytest.mark.parametrize(
    ("gpus", "dtype"), [((1, (8, 6)), torch.bfloat16), ((1, (7, 5)), torch.float16)], indirect=["gpus"]
)
def test_automatic_precision_on_gpus(gpus: None, dtype: torch.dtype) -> None:
    assert choose_precision("auto", CUDA).dtype is dtype


def test_precisions_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="--precision 8: expected one of auto, 32, bf16, 16"):
        choose_precision("8", CPU)


def test_fp16_on_a_cpu_is_fp32_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_precision("16", CPU).dtype is torch.float32
    assert "note: --half (--precision 16): fp16 needs a GPU, so fp32 is used" in capsys.readouterr().err


def test_what_a_precision_does() -> None:
    layer, x = nn.Linear(4, 4), torch.rand(2, 4)
    for dtype in (torch.float32, torch.bfloat16):
        with Precision(dtype, True, "").autocast(CPU):
            assert layer(x).dtype is dtype
    assert Precision(torch.float32, True, "").memory_format is torch.channels_last
    assert Precision(torch.float32, False, "").memory_format is torch.contiguous_format


def test_this_machine_answers() -> None:
    assert choose_precision("auto", CPU).dtype in (torch.float32, torch.bfloat16)
    for text in set(PRECISIONS) - {"16"}:
        assert choose_precision(text, CPU).reason
