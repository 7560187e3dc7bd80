"""Results as files: a batch's rows in the ledger become the bytes of an export. Pure but for the readers."""
