"""Benchmarks: each line a ratio, both sides of it measured in one run. `make bench` prints them."""
