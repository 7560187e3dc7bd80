"""Results that were exported: fetching their files, and proving offline that they are whole."""
