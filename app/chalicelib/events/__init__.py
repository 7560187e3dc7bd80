"""The events about the ends of batches: their contents, and the bus that they are put on."""
