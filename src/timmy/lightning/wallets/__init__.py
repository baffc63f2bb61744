"""The wallets that Timmy speaks to, one file each, behind one protocol: `protocol.py`. They translate, and keep no accounts."""
