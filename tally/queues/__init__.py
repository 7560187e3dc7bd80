"""The queues of a stage: what waits in them, and the dead letters."""
