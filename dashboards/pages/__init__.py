"""Pages, in the order of the navigation. Each is thin: address → provider → figure → panel."""

from dashboards.pages import fleet

PAGES = (fleet.PAGE,)
