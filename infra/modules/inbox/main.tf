# The bucket notification is Chalice's: aws_s3_bucket_notification would replace what Chalice merged in.

locals {
  # Made here, or there already.
  bucket = one(concat(aws_s3_bucket.this, data.aws_s3_bucket.this))
}

data "aws_s3_bucket" "this" {
  count = var.existing ? 1 : 0

  bucket = var.name
}

resource "aws_s3_bucket" "this" {
  count = var.existing ? 0 : 1

  #checkov:skip=CKV2_AWS_62:Chalice sets the notification, when it deploys plan
  #checkov:skip=CKV_AWS_144:An upload is a copy of what its sender has, and is read once, in this region

  bucket        = var.name
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_ownership_controls" "this" {
  count = var.existing ? 0 : 1

  bucket = aws_s3_bucket.this[0].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  count = var.existing ? 0 : 1

  bucket = aws_s3_bucket.this[0].id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  count = var.existing ? 0 : 1

  bucket = aws_s3_bucket.this[0].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }

    # One request to the key for many objects.
    bucket_key_enabled = var.kms_key_arn != null
  }
}

resource "aws_s3_bucket_logging" "this" {
  count = var.access_log_bucket == null || var.existing ? 0 : 1

  bucket        = aws_s3_bucket.this[0].id
  target_bucket = var.access_log_bucket
  target_prefix = "${var.name}/"
}

# A batch reads one version of its object; an upload over it starts another batch and leaves this one alone.
resource "aws_s3_bucket_versioning" "this" {
  count = var.existing ? 0 : 1

  bucket = aws_s3_bucket.this[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  count = var.lifecycle_rules && !var.existing ? 1 : 0

  #checkov:skip=CKV_AWS_300:It is set, in the rule abort-multipart-uploads; checkov sees only the last of several rules where one is dynamic

  bucket = aws_s3_bucket.this[0].id

  # Rules about older versions want versions first.
  depends_on = [aws_s3_bucket_versioning.this]

  rule {
    id     = "expire-noncurrent-versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.noncurrent_version_days
    }
  }

  rule {
    id     = "abort-multipart-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = var.multipart_upload_days
    }
  }

  # What was unpacked is read by its batch alone, and is noncurrent, for as long again, once it has expired.
  rule {
    id     = "expire-unpacked"
    status = "Enabled"

    filter {
      prefix = "unpacked/"
    }

    expiration {
      days = var.noncurrent_version_days
    }
  }

  dynamic "rule" {
    for_each = var.results_expiration_days > 0 ? [var.results_expiration_days] : []

    content {
      id     = "expire-results"
      status = "Enabled"

      filter {
        prefix = "results/"
      }

      expiration {
        days = rule.value
      }
    }
  }

  dynamic "rule" {
    for_each = var.object_expiration_days > 0 ? [var.object_expiration_days] : []

    content {
      id     = "expire-objects"
      status = "Enabled"

      filter {}

      expiration {
        days = rule.value
      }
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  count = var.existing ? 0 : 1

  bucket = aws_s3_bucket_public_access_block.this[0].bucket

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "DenyWithoutTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.this[0].arn, "${aws_s3_bucket.this[0].arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}
