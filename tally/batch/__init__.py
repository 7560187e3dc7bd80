"""One batch, seen and handled by an operator."""
