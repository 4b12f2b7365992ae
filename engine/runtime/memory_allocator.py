"""glibc's allocator, told to keep what a training step frees for the next one.

By default it gives large blocks back to the system as they are freed, and every step of a training on the CPU takes
the same gigabyte anew, page by page: 35,000 page faults a step, a sixth of its time, for YOLOv5n at 320 px and batch
16. Kept, holes between blocks cost a tenth to a sixth of the peak (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_NEVER = -1
_LARGEST_BLOCK = 2**30  # bytes; beyond, a block is the system's as before
_LARGEST_BLOCK_OF_OLD = 2**25  # an older glibc takes no more
_OWN_CHOICES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")  # environment variables


def keep_freed_memory() -> bool:
    """Keep freed memory from now on, in this process and those it forks.

    Returns:
        Whether it does; it does not without glibc, and where the environment sets its allocator.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _OWN_CHOICES):
        return False
    return set_thresholds(_NEVER, _LARGEST_BLOCK) or set_thresholds(_NEVER, _LARGEST_BLOCK_OF_OLD)


def set_thresholds(trim_bytes: int, block_bytes: int) -> bool:
    """Set from how much free memory at its end, and from what size of a block, glibc gives memory back.

    Returns:
        Whether both were taken; never without glibc.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # musl, other systems
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, block_bytes)) and bool(mallopt(_M_TRIM_THRESHOLD, trim_bytes))
