"""Providers: the only readers of the snapshot. Every method takes the reader's Scope, and its SQL carries it.

Belongs here: typed queries. Does not belong here: drawing, layout, wording of pages.
"""
