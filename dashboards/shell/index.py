"""The HTML document around the application: language, colour scheme before the first paint, style variables."""

from __future__ import annotations

import json
import re

from dashboards.theme.tokens import css_variables

# What Dash writes into the page about itself; the browser needs none of it, and an attacker would like to know it.
VERSIONS = ("dash_version", "plotly_version", "python_version", "dash_version_url")


def without_versions(config: str) -> str:
    """Dash's configuration in the page, as it writes it, without the versions of what runs here."""
    found = re.search(r"(<script[^>]*>)(.*)(</script>)", config, re.DOTALL)
    if found is None:
        return config
    told = {name: value for name, value in json.loads(found[2]).items() if name not in VERSIONS}
    return found[1] + json.dumps(told) + found[3]


def index_string() -> str:
    """Dash's index with `lang`, a skip link and the scheme set before anything is painted."""
    return f"""<!DOCTYPE html>
<html lang="en">
  <head>
    {{%metas%}}
    <title>{{%title%}}</title>
    <link rel="icon" type="image/svg+xml" href="/assets/favicon.svg">
    <style>{css_variables()}</style>
    <script src="/assets/boot_scheme.js"></script>
    {{%css%}}
  </head>
  <body>
    <a class="cf-skip" href="#page">Skip to the page</a>
    {{%app_entry%}}
    <noscript>These pages are drawn in the browser and need JavaScript; nothing is loaded from elsewhere.</noscript>
    <footer>{{%config%}}{{%scripts%}}{{%renderer%}}</footer>
  </body>
</html>"""
