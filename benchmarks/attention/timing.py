"""Paired times and peak memory of functions, for `benchmarks/attention/module_speed.py`."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.runtime.memory_allocator import set_thresholds

Work = Callable[[], object]

LEAST_MS = 10.0  # a sample repeats its function until it takes about this long
LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        ordered = sorted(values)
        quarter = len(ordered) // 4
        return cls(statistics.median(ordered), ordered[quarter], ordered[-1 - quarter])


def clock_of(threads: int) -> tuple[str, Callable[[], float]]:
    """Name and clock: the CPU time of this thread for one thread, which leaves out others' turns; else wall time."""
    return ("thread CPU time", time.thread_time) if threads == 1 else ("wall time", time.perf_counter)


@contextlib.contextmanager
def malloc(*, keeps: bool) -> Iterator[None]:
    """While it lasts, glibc's malloc keeps freed blocks up to 32 MB, or hands each large block back; then the latter.

    Timed work keeps them, as a process does that has run for a while (32 MB is where glibc's own adjustment ends), but
    without its chance trimming: a map of fresh pages costs about as much as a pass. Measured memory is handed back:
    kept blocks of the right size are not always found again, so the process would seem to need more than it does.
    """
    if platform.libc_ver()[0] == "glibc":
        set_thresholds(2**31 - 1 if keeps else 2**17, 2**25 if keeps else 2**17)
        ctypes.CDLL(None).malloc_trim(0)
    try:
        yield
    finally:
        if keeps:
            with malloc(keeps=False):
                pass


def paired_ms(
    works: Sequence[Work], repeats: Sequence[int], *, rounds: int, seconds: float, clock: Callable[[], float]
) -> list[tuple[float, ...]]:
    """Milliseconds of each function in each round; the order turns round every time.

    Args:
        works: The functions.
        repeats: How often a sample calls each, from `warm_up`.
        rounds: Number of rounds.
        seconds: Time on the clock after which no further round begins, once three are done.
        clock: In seconds.
    """
    started = clock()
    samples: list[tuple[float, ...]] = []
    while len(samples) < rounds:
        if len(samples) >= min(LEAST_ROUNDS, rounds) and clock() - started > seconds:
            break
        sample = [0.0] * len(works)
        order = range(len(works))
        for i in order if len(samples) % 2 == 0 else reversed(order):
            sample[i] = _sample_ms(works[i], repeats[i], clock)
        samples.append(tuple(sample))
    return samples


def warm_up(work: Work, clock: Callable[[], float]) -> int:
    """Call the function unmeasured, and say how often a sample must call it to take about `LEAST_MS`."""
    first = _sample_ms(work, 1, clock)
    again = _sample_ms(work, 1, clock) if first < 50 * LEAST_MS else first  # the first call may prepare something
    return max(1, round(LEAST_MS / max(again, 1e-3)))


def _sample_ms(work: Work, repeats: int, clock: Callable[[], float]) -> float:
    started = clock()
    for _ in range(repeats):
        work()
    return (clock() - started) * 1e3 / repeats


def peak_mb(work: Work) -> float | None:
    """Megabytes by which the resident memory of this process rises at most while the function, run before, runs again.

    Everything counts: tensors, buffers that live only inside an operation, scratch memory of libraries. Before, freed
    memory goes back to the system, so that none of it is used unseen, and the kernel's high-water mark is reset.

    Returns:
        None where the system has no such mark (it is Linux's).
    """
    with malloc(keeps=False):
        gc.collect()
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            return None
        before = _status_mb("VmRSS")
        work()
        return _status_mb("VmHWM") - before


def _status_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"/proc/self/status has no {field}")


def available_gb() -> float | None:
    """Memory that this machine could still give out; None where unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("MemAvailable:"))


@contextlib.contextmanager
def limited_memory(gigabytes: float) -> Iterator[None]:
    """While it lasts, allocations beyond what is in use now plus this raise RuntimeError, before the machine runs out.

    Raises:
        ValueError: The system has no such limit.
    """
    try:
        import resource
    except ImportError as error:
        raise ValueError("--memory-gb: this system cannot limit a process' memory") from error
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int((gigabytes + _status_mb("VmData") / 1e3) * 1e9), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
