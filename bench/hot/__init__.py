"""The hot row: everybody reserves from, and posts to, one account."""
