"""Dossiers made in the background: charts as SVG without a browser, jobs with their progress, what may be fetched."""
