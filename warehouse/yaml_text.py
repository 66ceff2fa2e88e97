"""YAML text as a document, with the tree that knows its line numbers. Does not belong here: what a document means."""

from __future__ import annotations

from typing import Any

import yaml

# libyaml's parser where PyYAML was built with it: the one in Python takes a second for a site's contract.
LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parsed(text: str) -> tuple[yaml.Node | None, Any]:
    """YAML's tree and the document made of it; None and None of an empty text. Raises yaml.YAMLError."""
    loader = LOADER(text)
    try:
        tree = loader.get_single_node()
        # The safe constructor only knows plain values.
        return tree, None if tree is None else loader.construct_document(tree)
    finally:
        loader.dispose()
