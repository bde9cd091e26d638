"""The ledger: plans, receipts and dead letters, which survive any crash."""
