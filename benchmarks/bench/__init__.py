"""`make bench`: the speed that is promised, as ratios measured in one run.

Belongs here: what is measured, against what, and the page about it. Does not belong here: tests, which never time
anything; benchmarks of single subjects, which lie beside this package.
"""
