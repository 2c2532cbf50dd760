"""The way in: one gate around everything, the typed API, the event stream, the media and the A1111 dialect."""
