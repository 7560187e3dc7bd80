"""Corrected rows: reading an operator's file, holding it to the ledger, and running its rows in place of others."""
