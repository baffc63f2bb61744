"""A whole sale in a terminal: asked, judged, priced, paid, worked, accounted for, and the rest given back.

The promise: everything that is shown happened. The demo is a customer and nothing more: it starts a server as a process of its
own, speaks HTTP to it, and pays with a wallet; no figure on the screen is made up. The same story runs over the built-in wallet,
a real LNbits or a real Lightning network, because all it knows of money is a `Buyer`.
"""

# What the customer asks, unless told otherwise. Here, so that a command can offer it without building the stage.
REQUEST = "Explain in three sentences what happens between scanning a Lightning invoice and the payment arriving."
