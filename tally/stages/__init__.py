"""Stages: where they are, and how to reach them."""
