"""Jobs: from being handed in to being delivered, with a wallet and a model that answer at once."""
