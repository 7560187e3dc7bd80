"""Tools for contributors, which are never deployed."""
