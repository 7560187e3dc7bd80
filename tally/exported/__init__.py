"""Exported results: fetch their files, and prove offline that they are whole."""
