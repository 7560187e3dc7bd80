"""Run one handler in this process: on a sample in memory, or on a real batch, with or without its writes."""
