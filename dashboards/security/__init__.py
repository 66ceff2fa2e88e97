"""Access: what a session may see (`scope.py`) and the headers of every response (`headers.py`)."""
