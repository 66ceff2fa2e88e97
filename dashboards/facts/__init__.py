"""What pages show, as frozen dataclasses: providers make them, figures and pages take them.

Belongs here: plain values and what follows from them alone. Does not belong here: SQL, layout, colours.
"""
