"""The Vein-to-vein page: `page.py` puts it together, `risk.py` has open orders, `times.py` where the time goes."""
