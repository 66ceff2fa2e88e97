"""From a site's files to promoted rows: take → stage → map → audit → commit, all or nothing, accounted for.

`take.py` brings files into the vault, `stage.py` makes text records of them at the site's edge, `promote.py` maps,
splits and commits small feeds, `large.py` does the same for feeds of many millions of readings, `accounting.py` adds it
all up.
"""
