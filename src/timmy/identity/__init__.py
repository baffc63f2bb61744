"""Who somebody is, by a key that they own, and what that key has earned.

This room promises that a login is one signature for one nonce of ours, once; that a token is worth nothing more than the key it names; that
a score is earned only by work that was paid for, fades with absence before anything else happens to it, and can be explained; and that a
macaroon can be narrowed by anybody and widened by nobody.
"""

from timmy.identity.login import Identity, SignedRequest
from timmy.identity.tokens import Tokens, kept_secret
from timmy.identity.trust import Standing, Tier

__all__ = ["Identity", "SignedRequest", "Standing", "Tier", "Tokens", "kept_secret"]
