"""The dictionary: each field defined once, tables as lists of fields, controlled vocabularies.

Belongs here: the YAML declarations, their checked model (`model.py`) and what is rendered from them (`render.py`).
Does not belong here: how a site names things (its contract), rules across tables (`pipelines/validation`).
"""

from warehouse.dictionary.model import Dictionary, Field, Table, dictionary

__all__ = ["Dictionary", "Field", "Table", "dictionary"]
