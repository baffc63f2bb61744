"""How the node behind the wallet is, row by row, each with what to do. Facts go in and rows come out: nothing is asked here."""

from timmy.lightning.diagnosis.report import diagnosed
from timmy.lightning.diagnosis.rows import Books, Row, Situation, Wants, Word, worst

__all__ = ["Books", "Row", "Situation", "Wants", "Word", "diagnosed", "worst"]
