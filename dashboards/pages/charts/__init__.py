"""The Control charts page: `page.py` puts it together, `view.py` says what is looked at, the others have its panels."""
