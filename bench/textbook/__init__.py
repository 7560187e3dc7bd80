"""The textbook: what a good engineer builds from the documentation, to measure Tally against."""
