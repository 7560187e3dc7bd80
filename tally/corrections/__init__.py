"""Corrected rows: read an operator's file, check it against the ledger, and run its rows in place of others."""
