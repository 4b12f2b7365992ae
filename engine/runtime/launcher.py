"""This process's place among those that torchrun, srun or Lightning started, from the environment. Imports no torch."""

from __future__ import annotations

import os
from typing import NamedTuple


class Place(NamedTuple):
    """One process among those of a run."""

    launcher: str = ""  # "torchrun", "srun", "parent" (Lightning), or empty for a process started by hand
    rank: int = 0  # among all processes
    local_rank: int = 0  # among those of this machine
    local_world: int = 1  # processes of this machine; not known to the processes that a parent starts
    nodes: int = 1


def place() -> Place:
    """This process's place.

    Raises:
        ValueError: If the processes are spread unevenly over the machines.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local_world = _number("LOCAL_WORLD_SIZE")
        nodes = _nodes(_number("WORLD_SIZE"), local_world, "--nproc_per_node")
        return Place("torchrun", _number("RANK"), _number("LOCAL_RANK"), local_world, nodes)
    # A batch script's own process has the job's SLURM_NTASKS, but only what srun starts has a step.
    if "SLURM_STEP_ID" in os.environ and _number("SLURM_NTASKS", 1) > 1:
        world, nodes = _number("SLURM_NTASKS"), _number("SLURM_NNODES", 1)
        _nodes(world, world // nodes, "--ntasks-per-node")
        return Place("srun", _number("SLURM_PROCID"), _number("SLURM_LOCALID"), world // nodes, nodes)
    if {"LOCAL_RANK", "NODE_RANK", "MASTER_PORT"} <= os.environ.keys():  # WORLD_SIZE is gone after the training
        local_rank = _number("LOCAL_RANK")
        return Place("parent", local_rank, local_rank)
    return Place()


def check_local_rank(given: int) -> None:
    """Check `--local_rank`, which older launchers put on the command line.

    Raises:
        ValueError: If it is not what the environment says.
    """
    here = place()
    if given != -1 and (not here.launcher or given != here.local_rank):
        raise ValueError(
            f"--local_rank {given}: expected to be left out; the launcher sets it, as in "
            "torchrun --nproc_per_node 2 train.py …"
        )


def _number(name: str, default: int | None = None) -> int:
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdigit():
        raise ValueError(f"the environment variable {name} is {text!r}: expected the number that the launcher sets")
    return int(text)


def _nodes(world: int, local_world: int, flag: str) -> int:
    if local_world < 1 or world % local_world:
        raise ValueError(
            f"{world} processes with {local_world} on this machine: expected equally many on every machine ({flag})"
        )
    return world // local_world
