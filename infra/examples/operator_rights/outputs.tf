output "look_policy_arn" {
  description = "ARN of the policy for those who look: `tally ui --read-only`, and every command that changes nothing."
  value       = aws_iam_policy.this["look"].arn
}

output "examine_policy_arn" {
  description = "ARN of the policy that `tally doctor` needs beside the one to look."
  value       = aws_iam_policy.this["examine"].arn
}

output "act_policy_arn" {
  description = "ARN of the policy for those who submit, redrive, pause, cancel and repair, beside the one to look."
  value       = aws_iam_policy.this["act"].arn
}

output "prove_policy_arn" {
  description = "ARN of the policy for `tally prove --aws`, beside the three others and the deploy role; null without may_prove."
  value       = one([for part, policy in aws_iam_policy.this : policy.arn if part == "prove"])
}
