"""Who is who among the processes of a run, from the environment of each launcher; and what devices they get."""

import pytest
import torch

import engine.runtime.device
from engine.runtime.distributed import Processes, _devices
from engine.runtime.launcher import Place, check_local_rank, place

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}
JOB = {"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_PROCID": "5", "SLURM_LOCALID": "1"}
NAMES = (*TORCHRUN, *JOB, "SLURM_STEP_ID", "NODE_RANK", "MASTER_PORT", "MASTER_ADDR")


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch):
    """Sets the launcher's variables and no others."""

    def use(variables: dict[str, str]) -> None:
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Place()),
        (TORCHRUN, Place("torchrun", 5, 1, 4, 2)),
        ({**JOB, "SLURM_STEP_ID": "0"}, Place("srun", 5, 1, 4, 2)),
        (JOB, Place()),  # a batch script that does not use srun
        ({**JOB, "SLURM_STEP_ID": "0", "SLURM_NTASKS": "1"}, Place()),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0", "MASTER_PORT": "1234"}, Place("parent", 1, 1)),
        ({"RANK": "3", "LOCAL_RANK": "3"}, Place()),
    ],
)
def test_place(surroundings, variables: dict[str, str], expected: Place) -> None:
    surroundings(variables)
    assert place() == expected


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({**TORCHRUN, "WORLD_SIZE": "7"}, "7 processes with 4 on this machine: expected equally many"),
        ({**TORCHRUN, "RANK": "five"}, "the environment variable RANK is 'five': expected the number"),
    ],
)
def test_environments_that_make_no_sense(surroundings, variables: dict[str, str], message: str) -> None:
    surroundings(variables)
    with pytest.raises(ValueError, match=message):
        place()


def test_local_rank_is_what_the_launcher_says(surroundings) -> None:
    surroundings(TORCHRUN)
    check_local_rank(-1)
    check_local_rank(1)
    with pytest.raises(ValueError, match="--local_rank 0: expected to be left out"):
        check_local_rank(0)


def test_a_device_for_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.runtime.device.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(engine.runtime.device.torch.cuda, "device_count", lambda: 4)
    gpus = [torch.device(f"cuda:{number}") for number in range(4)]
    two = Place("torchrun", 0, 0, 2, 1)
    assert _devices("", Place()) == gpus[:1]
    assert _devices("1,3", Place()) == [gpus[1], gpus[3]]
    assert _devices("cpu", two) == [torch.device("cpu")] * 2
    assert _devices("", two) == gpus[:2]
    assert _devices("2, 3", two) == gpus[2:]
    for text, message in (
        (
            "0",
            "torchrun runs 2 processes on this machine, so expected 2 devices, e.g. --device 0,1, but got 1",
        ),
        ("0,0", "--device 0,0: expected the numbers of different GPUs"),
        ("0,cpu", "--device 0,cpu: expected the numbers of different GPUs"),
        ("0,", "--device '': expected cpu, mps or a GPU number"),
    ):
        with pytest.raises(ValueError, match=message):
            _devices(text, two)


def test_a_batch_is_shared_evenly_or_not_at_all() -> None:
    assert Processes().share_of(7) == 7
    three = Processes(world=3)
    assert three.share_of(9) == 3
    with pytest.raises(ValueError, match=r"--batch-size 7: is shared by 3 processes.*; try 6 or 9"):
        three.share_of(7)
    with pytest.raises(ValueError, match="multiple of 3; try 3"):
        three.share_of(2)
    with pytest.raises(ValueError, match="--batch-size -1: is found for one process only"):
        three.share_of(-1)
