"""The Tally library: everything that a handler does, importing no chalice."""
