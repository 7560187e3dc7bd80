"""A stage on this machine."""
