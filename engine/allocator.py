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
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # musl
        return False
    if not mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK):
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK_OF_OLD)
    return bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
