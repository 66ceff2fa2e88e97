"""The site manager's dashboards: a read-only Dash application over the published snapshot.

Belongs here: everything that shows. Providers alone read the snapshot; figures are pure; pages are thin.
Does not belong here: what the numbers mean (`warehouse`), how they come to be (`pipelines`).
"""
