"""What gunicorn serves: `gunicorn dashboards.wsgi:server`, with CELLFLEET_HOME naming the home."""

from __future__ import annotations

from dashboards.app import create_app
from warehouse.settings import settings

server = create_app(settings()).server
