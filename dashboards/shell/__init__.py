"""Everything around a page: its address, header and navigation, error boundary, plain HTTP endpoints."""
