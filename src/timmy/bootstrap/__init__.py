"""One payment, one Bitcoin node: a machine is ordered at a cloud, prepared, and handed over with its key.

This room promises that a paid order ends in one node that answers, or in its fee owed back and nothing left billing; that however many look
on, or die, one machine is made; and that a private key is sealed while it lies here, handed over once, and then cannot be read by anybody.
"""
