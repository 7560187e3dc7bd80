"""Announcements about batches: their ends and their exports, as subscribers got them."""
