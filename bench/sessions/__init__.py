"""Prefunded work: the whole of a session's request except HTTP, with a model that answers at once."""
