output "arn" {
  description = "ARN of the role, once its policy is attached."
  value       = aws_iam_role.this.arn
  depends_on  = [aws_iam_role_policy.this]
}

output "name" {
  description = "Name of the role and of the function."
  value       = aws_iam_role.this.name
}

output "log_group_name" {
  description = "Name of the function's log group."
  value       = aws_cloudwatch_log_group.this.name
}

output "policy" {
  description = "Policy of the role, as JSON."
  value       = aws_iam_role_policy.this.policy
}

output "permissions_boundary_arn" {
  description = "ARN of the policy that bounds the role; null for none."
  value       = aws_iam_role.this.permissions_boundary
}
