"""What a browser sends to the dashboards, made from what they answered: pages and the callbacks of their controls.

Belongs here: reading Dash's own list of callbacks and the components of an answer, so that a callback that is new is
covered without being named. Does not belong here: who sends it and what for (the load, the tests of access).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Body = dict[str, Any]
PAGE_OUTPUTS = ("page", "facts", "scope", "notice")


def page_body(path: str, search: str = "", why: str = "address") -> Body:
    """The callback that shows a page."""
    return {
        "output": "..{}..".format("...".join(f"{i}.children" for i in PAGE_OUTPUTS)),
        "outputs": [{"id": i, "property": "children"} for i in PAGE_OUTPUTS],
        "inputs": [
            {"id": "place", "property": "data", "value": {"path": path, "search": search, "why": why}}
        ],
        "changedPropIds": ["place.data"],
        "parsedChangedPropsIds": ["place.data"],
    }


def components(answer: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every component with an id in an answer, as (id as Dash writes it, its properties)."""
    if isinstance(answer, dict):
        props = answer.get("props")
        if isinstance(props, dict) and "id" in props:
            yield id_text(props["id"]), props
        for value in answer.values():
            yield from components(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from components(value)


def id_text(component_id: Any) -> str:
    """An id as Dash's list of callbacks has it."""
    if isinstance(component_id, dict):
        return json.dumps(component_id, sort_keys=True, separators=(",", ":"))
    return str(component_id)


def callbacks(dependencies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Callbacks that the server answers, of Dash's own list, without the one that shows a page."""
    return [
        d for d in dependencies
        if not d.get("clientside_function") and not d["output"].startswith("..page.children")
    ]  # fmt: skip


def bodies(dependencies: list[dict[str, Any]], shown: dict[str, dict[str, Any]]) -> Iterator[Body]:
    """Bodies of the callbacks whose inputs are all among the components `shown`, with the values these have."""
    for callback in callbacks(dependencies):
        inputs = [_with_value(item, shown) for item in callback["inputs"]]
        state = [_with_value(item, shown) for item in callback["state"]]
        if any(item is None for item in inputs):
            continue
        first = inputs[0]
        assert first is not None
        changed = f"{id_text(first['id'])}.{first['property']}"
        yield {
            "output": callback["output"],
            "outputs": outputs_of(callback["output"]),
            "inputs": inputs,
            "state": [item or {**raw, "id": _id(raw["id"]), "value": None}
                      for item, raw in zip(state, callback["state"], strict=True)],
            "changedPropIds": [changed],
            "parsedChangedPropsIds": [changed],
        }  # fmt: skip


def outputs_of(output: str) -> Any:
    """`outputs` of a body, from the name of the callback."""
    if output.startswith(".."):
        return [_output(one) for one in output.strip(".").split("...")]
    return _output(output)


def _output(one: str) -> Body:
    name, prop = one.rsplit(".", 1)
    return {"id": _id(name), "property": prop.split("@")[0]}


def _with_value(item: dict[str, Any], shown: dict[str, dict[str, Any]]) -> Body | None:
    props = shown.get(item["id"])
    if props is None:
        return None
    return {"id": _id(item["id"]), "property": item["property"], "value": props.get(item["property"])}


def _id(text: str) -> Any:
    return json.loads(text) if text.startswith("{") else text
