"""The Comparability page: `page.py` puts it together, `beside.py` has what stands beside the verdicts."""
