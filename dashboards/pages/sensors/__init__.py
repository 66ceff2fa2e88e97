"""The Sensors page: `page.py` puts it together, `view.py` says what is looked at, `panels.py` has its panels."""
