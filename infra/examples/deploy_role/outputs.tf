output "permissions_boundary_arn" {
  description = "ARN of the policy that the functions' roles must carry, for the stage's variable of this name."
  value       = local.boundary_arn
}

output "role_arn" {
  description = "ARN of the role, for the workflow that deploys."
  value       = aws_iam_role.this.arn
}
