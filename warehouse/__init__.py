"""The lake, what is made of it, and the statistics: everything that neither fetches nor shows.

Belongs here: DuckDB, SQL, the dictionary, marts, the ledger, statistics. Does not belong here: sites' systems and
Dagster (`pipelines`), pages (`dashboards`).
"""

import ctypes
import os
import sys

# Two BLAS threads on the small matrices of the statistics cost four times the processor's time of one, and wait for
# each other on a busy machine. Set before numpy loads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# glibc gives threads heaps of their own, eight a core, and each keeps what it once held: a process that takes in and
# publishes for days would hold ever more. One a core serves as fast. Large pieces go back to the system when they are
# freed: by itself glibc soon puts them among the small ones, where one that stays keeps the others. Numbers are those
# of malloc.h; other systems' C libraries know no such thing.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE = 4 << 20
if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
    libc.mallopt(_M_ARENA_MAX, os.cpu_count() or 1)
    libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
    libc.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGE)
