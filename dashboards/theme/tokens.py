"""Design tokens, each once: from here come the Mantine theme, the CSS variables and the two Plotly templates.

Belongs here: colours, fonts, marks of verdicts and sites. Does not belong here: sizes of one component
(`assets/cellfleet.css`). Figures name a colour (`token("ok")`), and the browser, or a printed report, fills in
its value: one figure serves both themes. Colours are Okabe-Ito's, darkened or lightened until text in them has
a contrast of 4.5 and marks of 3 on their ground; a colour never stands alone, a symbol or a word goes with it.
"""

from __future__ import annotations

from typing import Any, Literal

Scheme = Literal["light", "dark"]

PALETTE: dict[Scheme, dict[str, str]] = {
    "light": {
        "page": "#f4f6f8",
        "surface": "#ffffff",
        "raised": "#eef2f6",
        "line": "#d5dce4",
        "text": "#17212e",
        "muted": "#4d5a6b",
        "accent": "#0a5a9c",
        "ok": "#00694f",
        "unsure": "#7a5200",
        "bad": "#a8321a",
        "okground": "#e2f3ed",
        "unsureground": "#fbf1dc",
        "badground": "#fbe7e1",
        "band": "rgba(0, 105, 79, 0.10)",
        "grid": "#e4e9ee",
        "axis": "#6b7888",
        "site1": "#0072b2",
        "site2": "#b5520a",
        "site3": "#00785a",
        "site4": "#a34b80",
        "site5": "#6b6400",
        "site6": "#44546a",
    },
    "dark": {
        "page": "#10161d",
        "surface": "#19212b",
        "raised": "#232d39",
        "line": "#34404e",
        "text": "#eef2f6",
        "muted": "#b3bfcc",
        "accent": "#7cc0f5",
        "ok": "#5cd6ae",
        "unsure": "#f2c060",
        "bad": "#ff9a7b",
        "okground": "#17382f",
        "unsureground": "#3a301a",
        "badground": "#43241c",
        "band": "rgba(92, 214, 174, 0.13)",
        "grid": "#2a3441",
        "axis": "#8e9bab",
        "site1": "#56b4e9",
        "site2": "#f59a52",
        "site3": "#3ecfa3",
        "site4": "#e29bc4",
        "site5": "#e6dc55",
        "site6": "#b6c3d1",
    },
}
FONT = 'Inter, "Segoe UI", "Helvetica Neue", "DejaVu Sans", Arial, sans-serif'
SITE_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "pentagon", "star")
PREFIX = "token:"


def token(name: str) -> str:
    """Placeholder of a colour in a figure; `resolve` or the browser fills it in. Raises KeyError for an unknown one."""
    if name not in PALETTE["light"]:
        raise KeyError(name)
    return PREFIX + name


def resolve(figure: Any, scheme: Scheme) -> Any:
    """The figure with every colour filled in, for a picture made without a browser."""
    if isinstance(figure, dict):
        return {key: resolve(value, scheme) for key, value in figure.items()}
    if isinstance(figure, list | tuple):
        return [resolve(value, scheme) for value in figure]
    if isinstance(figure, str) and figure.startswith(PREFIX):
        return PALETTE[scheme][figure.removeprefix(PREFIX)]
    return figure


def site_mark(site: str, sites: tuple[str, ...]) -> tuple[str, str]:
    """Colour (a token) and symbol of a site among all sites of the fleet, in their order: the same on every page."""
    place = sites.index(site) if site in sites else len(sites)
    return token(f"site{place % 6 + 1}"), SITE_SYMBOLS[place % len(SITE_SYMBOLS)]


def template() -> dict[str, Any]:
    """Plotly template with colours named, filled in as those of a figure."""
    axis = {
        "gridcolor": token("grid"),
        "zerolinecolor": token("axis"),
        "linecolor": token("axis"),
        "tickcolor": token("axis"),
        "tickfont": {"color": token("muted"), "size": 12},
        "title": {"font": {"color": token("text"), "size": 13}},
        "automargin": True,
    }
    return {
        "layout": {
            "font": {"family": FONT, "color": token("text"), "size": 13},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": [token(f"site{n}") for n in range(1, 7)],
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {
                "bgcolor": token("raised"),
                "bordercolor": token("line"),
                "font": {"color": token("text")},
            },
            "modebar": {
                "bgcolor": "rgba(0,0,0,0)",
                "color": token("muted"),
                "activecolor": token("accent"),
            },
            "legend": {"font": {"color": token("text")}},
        }
    }


def css_variables() -> str:
    """CSS variables `--cf-<name>` of both schemes, for the page's style sheet."""
    light, dark = (
        "".join(f"--cf-{name}:{value};" for name, value in PALETTE[scheme].items())
        for scheme in ("light", "dark")
    )
    # Paper is white whatever the screen is.
    return (
        f':root,[data-mantine-color-scheme="light"]{{{light}--cf-font:{FONT};color-scheme:light}}'
        f'[data-mantine-color-scheme="dark"]{{{dark}color-scheme:dark}}'
        f'@media print{{:root,[data-mantine-color-scheme="dark"]{{{light}color-scheme:light}}}}'
    )


def mantine() -> dict[str, Any]:
    """Theme of the Mantine components."""
    return {
        "fontFamily": FONT,
        "headings": {"fontFamily": FONT, "fontWeight": "650"},
        "primaryColor": "blue",
        "primaryShade": {"light": 8, "dark": 4},
        "defaultRadius": "sm",
    }
