"""Pages, in the order of the navigation. Each is thin: address → provider → figure → panel."""

from dashboards.pages import comparability, fleet, source

PAGES = (fleet.PAGE, comparability.PAGE, source.PAGE)
