"""What is claimed about speed, measured: our variants and their rivals, side by side in one run, on whatever machine this is.

    python -m bench.run [hot|pool|jobs|sessions|gateway|memory|all] [--quick]

Every figure in the papers comes from here. Each run alternates the variants (A B C A B C), says how much of the machine somebody
else was using meanwhile, and audits the books afterwards: a figure from a run that lost a millisat is not printed.
"""
