"""Components written as the browser gets them, by orjson: Dash's own way goes through every value in Python first."""

from __future__ import annotations

from typing import Any

import orjson
from dash.development.base_component import Component
from plotly.io.json import to_json_plotly


def sent(made: Any) -> Any:
    """A component or figure, or each of several outputs, as written JSON; it may stand among components' children.

    Anything else, such as a sentence or `no_update`, is given back as it is.
    """
    if isinstance(made, tuple):
        return tuple(map(sent, made))
    if not isinstance(made, Component | dict):
        return made
    try:
        return orjson.Fragment(
            orjson.dumps(made, _written, orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
        )
    except TypeError:
        # Values that only Plotly knows how to write.
        return orjson.Fragment(to_json_plotly(made, engine="orjson"))


def _written(value: Any) -> Any:
    if not isinstance(value, Component):
        raise TypeError
    told: Any = value  # Dash's method has no types
    return told.to_plotly_json()
