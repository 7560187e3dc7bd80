"""What was announced of batches: their ends and their exports, as subscribers got them."""
