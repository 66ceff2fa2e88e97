"""Connectors: one module a kind of source system, all with the same small protocol (`protocol.py`).

A connector brings what is new as files, as the site wrote them; the files go to the site's vault before anything reads
them (`pipelines/formats`). Does not belong here: the meaning of a record (`pipelines/harmonise`).
"""
