"""The events that tell the world how batches end: what they say, and how they are put."""
