"""Pages, in the order of the navigation. Each is thin: address → provider → figure → panel."""

from dashboards.pages import (
    batch,
    batches,
    charts,
    comparability,
    fleet,
    quality,
    release,
    sensors,
    source,
    vein,
)

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
    source.PAGE,
)
