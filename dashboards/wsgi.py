"""What gunicorn serves: `gunicorn dashboards.wsgi:server`, with CELLFLEET_HOME naming the home."""

from __future__ import annotations

import gc

from dashboards.app import create_app
from warehouse.settings import settings

server = create_app(settings()).server

# What a worker begins with stays for its life. Looked through at each full collection it would hold up a reader for
# some 150 ms every few pages.
gc.collect()
gc.freeze()
