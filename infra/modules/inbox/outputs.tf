output "name" {
  description = "Name of the bucket."
  value       = local.bucket.bucket
}

output "arn" {
  description = "ARN of the bucket."
  value       = local.bucket.arn
}

output "kms_key_arn" {
  description = "ARN of the key that encrypts the objects; null for the one S3 has."
  value       = var.kms_key_arn
}
