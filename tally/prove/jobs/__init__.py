"""Jobs that only a stage of ``tally prove`` has."""
