"""Deploying a stage to AWS, and taking it down."""
