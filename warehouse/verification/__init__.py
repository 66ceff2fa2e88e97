"""Verification of the statistics against values that others published.

Belongs here: the runner, the adapters from a reference case to our functions, and the cases that may be
shipped. Does not belong here: any statistic. The product runs this live and so does the test suite.
"""
