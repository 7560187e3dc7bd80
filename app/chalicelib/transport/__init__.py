"""Transport: messages, queues, stream records, uploads, and how a queue handler answers."""
