"""Figures: pure functions, dataclasses in, a plain Plotly dict out. No Dash, no DuckDB, no clock.

Colours are named (`theme.tokens.token`) and filled in by the browser or the printer.
"""
