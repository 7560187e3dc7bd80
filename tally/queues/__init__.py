"""The queues of a stage: what waits in them, and the letters that nobody could deliver."""
