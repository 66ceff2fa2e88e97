"""Validation as evidence: suites and row rules from the dictionary and the contract, findings across tables.

`engine.py` is Great Expectations inside DuckDB, `suites.py` what it is asked, `audit.py` one audit of staged rows,
`data_docs.py` its page, `findings.py` and `rules/` what is true but remarkable across tables. Great Expectations is
imported inside functions.
"""
