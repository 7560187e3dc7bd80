"""Results as files: what the ledger says of a batch's rows, as the bytes of an export. Pure but for the readers."""
