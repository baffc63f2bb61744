"""Metered conversations over HTTP: our /v1/chat/completions beside what stands behind it, LiteLLM's proxy and the naive design."""
