"""The textbook: the design that AWS's documentation recommends, to measure Tally against."""
