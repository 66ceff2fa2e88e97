"""Access: what a session may see (`scope.py`), who is answered at all (`loopback.py`), headers (`headers.py`)."""
