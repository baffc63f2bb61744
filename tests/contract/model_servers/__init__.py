"""Local servers that speak the providers' wire formats, strictly: what the real ones refuse, these refuse. The official SDKs must
understand them (test_models_sdks.py), which is what makes them worth testing against."""
