"""One module a handler: its work on its event."""
