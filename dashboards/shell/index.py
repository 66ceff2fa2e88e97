"""The HTML document around the application: language, colour scheme before the first paint, style variables."""

from __future__ import annotations

from dashboards.theme.tokens import css_variables


def index_string() -> str:
    """Dash's index with `lang`, a skip link and the scheme set before anything is painted."""
    return f"""<!DOCTYPE html>
<html lang="en">
  <head>
    {{%metas%}}
    <title>{{%title%}}</title>
    {{%favicon%}}
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
