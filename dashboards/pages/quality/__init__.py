"""The Data quality page: `page.py` puts it together, each other module has the panels of one question."""
