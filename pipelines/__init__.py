"""Everything that Dagster runs, and the command line.

Imports of Dagster, Great Expectations and Polars make a million objects that stay for good; the collector's default is
to look through the young ones after each 700, which costs a sixth of every start.
"""

import gc

gc.set_threshold(100_000, 50, 100)
