"""The lake, what is made of it, and the statistics: everything that neither fetches nor shows.

Belongs here: DuckDB, SQL, the dictionary, marts, the ledger, statistics. Does not belong here: sites' systems and
Dagster (`pipelines`), pages (`dashboards`).
"""

import os

# Two BLAS threads on the small matrices of the statistics cost four times the processor's time of one, and wait for
# each other on a busy machine. Set before numpy loads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
