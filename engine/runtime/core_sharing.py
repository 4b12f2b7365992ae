"""Threads that leave the cores to others while they wait.

The OpenMP library below torch lets a thread that waits for the others spin. With a core for each thread that is right;
on a shared machine it takes the core from the very thread that is waited for, and one step takes several times as long
(docs/performance.md, "A busy machine"). Settings must stand before the library is loaded, which is when torch is.
"""

from __future__ import annotations

import os
import sys

from files.cores import usable_cores

# Rounds of waiting before a thread sleeps, a few microseconds; GNU's library alone knows it. Others sleep at once.
_SHORT_WAIT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
_OWN_CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def share_cores() -> bool:
    """Let the threads of this process and its children wait asleep, no more of them than cores it may use.

    What the environment already says about either stays.

    Returns:
        Whether it is in time; False once torch is loaded, and nothing is changed then.
    """
    if "torch" in sys.modules:
        return False
    if not any(name in os.environ for name in _OWN_CHOICES):
        os.environ.update(_SHORT_WAIT)
    cores = usable_cores()
    if cores < (os.cpu_count() or 1):  # a container's quota is not seen by the library
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))
    return True
