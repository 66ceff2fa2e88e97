"""Pages, in the order of the navigation. Each is thin: address → provider → figure → panel."""

from dashboards.pages import (
    batches,
    charts,
    quality,
    release,
    report,
    sensors,
    source,
    vein,
)
from dashboards.pages.batch import page as batch
from dashboards.pages.comparability import page as comparability
from dashboards.pages.fleet import page as fleet

PAGES = (
    fleet.PAGE,
    comparability.PAGE,
    charts.PAGE,
    batches.PAGE,
    batch.PAGE,
    release.PAGE,
    sensors.PAGE,
    vein.PAGE,
    quality.PAGE,
    report.PAGE,
    source.PAGE,
)
