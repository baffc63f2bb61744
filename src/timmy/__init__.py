"""Timmy: a self-hosted server that sells an AI agent's work for Bitcoin Lightning payments."""

__version__ = "0.1.0"
