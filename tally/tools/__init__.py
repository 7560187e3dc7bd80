"""The tools that Tally runs: Terraform, Chalice, and other processes."""
