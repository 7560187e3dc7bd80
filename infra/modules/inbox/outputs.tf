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

output "has_lifecycle_rules" {
  description = "Whether this module has given the bucket lifecycle rules."
  value       = length(aws_s3_bucket_lifecycle_configuration.this) == 1
}
