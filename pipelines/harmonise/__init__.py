"""A site's words into the dictionary's: contracts, units, codes, times, identifiers, as SQL.

Does not belong here: reading files (`pipelines/formats`), deciding what happens to what cannot be mapped
(`pipelines/ingest`).
"""
