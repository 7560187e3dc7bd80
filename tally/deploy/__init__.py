"""Deploy a stage to AWS, and take it down."""
