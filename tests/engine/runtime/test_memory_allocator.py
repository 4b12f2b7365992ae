"""Memory that a step frees serves the next one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = """
import resource, sys, torch
from engine.runtime.memory_allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
def step():
    maps = [torch.zeros(size << 20, dtype=torch.uint8) for size in (40, 3, 90, 17)]
    return sum(int(one[-1]) for one in maps)
counts = []
for _ in range(8):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(kept, min(counts))
"""


def faults(root: Path, mode: str, **variables: str) -> tuple[str, int]:
    """What `keep_freed_memory` said, and the fewest page faults of a step: it takes a few until blocks lie well."""
    command = [sys.executable, "-c", STEPS, mode]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    kept, count = done.stdout.split()
    return kept, int(count)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_step_takes_no_new_pages(root):
    plain = faults(root, "plain")[1]
    kept, count = faults(root, "keep")
    if kept != "True":
        pytest.skip("there is no glibc here, or the environment sets its allocator")
    assert plain > 1000
    assert count < plain / 100


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_the_environments_choice_stands(root):
    kept, count = faults(root, "keep", MALLOC_TRIM_THRESHOLD_="131072")
    assert kept == "False"
    assert count > 1000
