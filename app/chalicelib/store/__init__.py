"""The table: its items, their guards and everything that is written to them."""
