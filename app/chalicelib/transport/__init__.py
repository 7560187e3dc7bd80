"""Transport: messages, queues, stream records, uploads, and the answers of queue handlers."""
