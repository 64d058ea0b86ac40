"""A search as a Python call: the request, its wiring and its result."""
