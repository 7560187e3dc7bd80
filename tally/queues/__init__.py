"""The queues of a stage: waiting messages, and dead letters."""
