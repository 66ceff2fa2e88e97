"""Comparability statistics: pure functions from arrays and a plan to frozen, typed results.

Belongs here: equivalence, intervals, ranges, mixed models, control charts, power, and the verdict, each
naming its published source. Does not belong here: reading or writing anything, the clock, global state,
site names, SQL, or any import from the rest of the project. Import the modules by name; this package
re-exports nothing, so that one function has one address.
"""
