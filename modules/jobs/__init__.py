"""Where and when: the durable queue, the worker, and the collector."""
