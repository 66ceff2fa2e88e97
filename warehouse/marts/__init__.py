"""Marts: what can be asked of the lake, one SQL file each, built into a snapshot.

Belongs here: the SQL of each mart, its columns (`columns.yaml`), building them in order (`build.py`), the
comparability verdicts (`comparability.py`). Does not belong here: which file they are published in
(`warehouse/publish.py`), how verdicts are computed (`warehouse/statistics`), how they look (`dashboards`).
"""
