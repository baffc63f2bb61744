"""Other people's engines, doing what ours does: each in a venv of its own, with nothing of Timmy's."""
