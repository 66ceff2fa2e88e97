"""A simulated fleet of four sites with planted truth, written in the sites' own formats.

Belongs here: inventing a fleet and scoring what others found in it. Does not belong here: reading,
checking or storing; nothing but score.py touches anything of the platform, and that only through SQL.
"""

from .fleet import next_day, scales, simulate

__all__ = ["next_day", "scales", "simulate"]
