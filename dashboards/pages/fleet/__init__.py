"""The Fleet page: `page.py` puts it together, the other modules have its panels."""
