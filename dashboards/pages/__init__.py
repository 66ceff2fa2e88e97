"""Pages, in the order of the navigation. Each is thin: address → provider → figure → panel."""

from dashboards.pages import (
    batches,
    lot,
    release,
    report,
    source,
)
from dashboards.pages.batch import page as batch
from dashboards.pages.charts import page as charts
from dashboards.pages.comparability import page as comparability
from dashboards.pages.fleet import page as fleet
from dashboards.pages.quality import page as quality
from dashboards.pages.sensors import page as sensors
from dashboards.pages.vein import page as vein

PAGES = (
    fleet.PAGE,
    comparability.PAGE,
    charts.PAGE,
    batches.PAGE,
    batch.PAGE,
    lot.PAGE,
    release.PAGE,
    sensors.PAGE,
    vein.PAGE,
    quality.PAGE,
    report.PAGE,
    source.PAGE,
)
