"""One event to thousands of WebSocket viewers, beside the plain `websockets` library doing the same."""
