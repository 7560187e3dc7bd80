"""The tools that are driven: Terraform, Chalice, processes."""
