"""Attributes with a hyphen, which Python cannot name: `aria-*` and `data-*`."""

from __future__ import annotations

from typing import Any


def aria(**attributes: str) -> dict[str, Any]:
    """`aria(label="x")` is `{"aria-label": "x"}`, to be passed on with two stars."""
    return {f"aria-{name}": value for name, value in attributes.items()}


def data(**attributes: str) -> dict[str, Any]:
    """`data(attribute="x")` is `{"data-attribute": "x"}`."""
    return {f"data-{name}": value for name, value in attributes.items()}
