"""Real Lightning on this machine, out of nothing: for `timmy demo --lightning`, `timmy demo --lnbits` and the contract tests.

The promise: on Linux with `apt-get` and `python3-venv`, without root and without anything installed by hand, `lightning()` gives a
running bitcoind (regtest), an ElectrumX and two Electrum nodes with an open channel between them, and `lnbits()` gives a running LNbits
with two funded wallets. What has to be downloaded is downloaded once, verified, and kept in a cache directory; every process dies with
the one that started it, even when that one is killed. No coin in here is worth anything.

    async with regtest.lightning(progress=show) as ln:          # 15 seconds, and a minute more the first time
        ...                                                     # Timmy with WALLET=electrum, ELECTRUM_URL=ln.seller_electrum_url
        preimage = await ln.buyer.pay(payment_request)          # over a real channel

    async with regtest.lnbits(progress=show) as lb:             # 10 seconds, and two minutes more the first time
        ...                                                     # Timmy with WALLET=lnbits, LNBITS_URL=lb.url, LNBITS_API_KEY=lb.seller_key
        preimage = await lb.buyer.pay(payment_request)
"""

from timmy.regtest.doors import LightningWorld, LnbitsWorld, lightning, lnbits
from timmy.regtest.parts import Buyer, PaymentRefused, Progress, RegtestUnavailable, Step

__all__ = ["Buyer", "LightningWorld", "LnbitsWorld", "PaymentRefused", "Progress", "RegtestUnavailable", "Step", "lightning", "lnbits"]
