"""Where a stage is, and how to reach it."""
