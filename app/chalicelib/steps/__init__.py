"""One module a handler: what it does with what it is given."""
