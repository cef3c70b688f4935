"""Entry points, and the pipelines and the ledger that they share."""
