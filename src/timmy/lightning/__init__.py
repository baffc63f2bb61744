"""Money in and out over Lightning.

This room promises that an invoice of ours is credited once, whoever reports it and however late; that what is owed is paid at most
once, to an invoice that was checked first; and that a payment whose fate is unknown is asked about, never repeated and never given
back.
"""
