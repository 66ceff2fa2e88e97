"""Reports for the file: dossiers of a batch and of the comparability plan, typeset, with their data and a manifest.

Belongs here: what evidence packs (`pipelines/evidence.py`) and the dashboards' Report page both write. Does not belong
here: what is computed (`warehouse/marts`), who may see what and how charts are drawn (`dashboards`).
"""
