"""A model of finishers that meet on counters. ``python -m bench.contention`` prints where each design breaks."""
