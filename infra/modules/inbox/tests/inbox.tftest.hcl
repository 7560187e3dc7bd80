mock_provider "aws" {
  mock_resource "aws_s3_bucket" {
    defaults = {
      arn = "arn:aws:s3:::tally-test-inbox"
    }
  }
}

variables {
  name = "tally-test-inbox"
}

run "refuses_every_request_without_tls" {
  assert {
    condition = one([
      for s in jsondecode(aws_s3_bucket_policy.this.policy).Statement : s
      if s.Effect == "Deny" && s.Condition.Bool["aws:SecureTransport"] == "false"
    ]).Resource == ["arn:aws:s3:::tally-test-inbox", "arn:aws:s3:::tally-test-inbox/*"]
    error_message = "The policy must deny plain HTTP on the bucket and its objects."
  }
}

run "is_private_and_owned_by_the_account" {
  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls,
      aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls,
      aws_s3_bucket_public_access_block.this.restrict_public_buckets,
    ])
    error_message = "All four public access blocks must be on."
  }

  assert {
    condition     = aws_s3_bucket_ownership_controls.this.rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "ACLs must be off."
  }
}

run "keeps_versions_so_that_a_batch_reads_what_was_uploaded" {
  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "Versioning must be on."
  }
}

run "keeps_objects_unless_told" {
  assert {
    condition     = !contains(aws_s3_bucket_lifecycle_configuration.this.rule[*].id, "expire-objects")
    error_message = "No expiry of current objects by default."
  }
}

run "expires_objects_when_told" {
  variables {
    object_expiration_days = 90
  }

  assert {
    condition = one([
      for r in aws_s3_bucket_lifecycle_configuration.this.rule : r if r.id == "expire-objects"
    ]).expiration[0].days == 90
    error_message = "Objects must expire after object_expiration_days."
  }
}

run "keeps_a_filled_bucket_by_default" {
  assert {
    condition     = aws_s3_bucket.this.force_destroy == false
    error_message = "force_destroy must be asked for."
  }
}

run "rejects_a_name_s3_would_refuse" {
  command = plan

  variables {
    name = "Tally_Inbox"
  }

  expect_failures = [var.name]
}

run "rejects_noncurrent_version_days_below_one" {
  command = plan

  variables {
    noncurrent_version_days = 0
  }

  expect_failures = [var.noncurrent_version_days]
}

run "rejects_negative_object_expiration_days" {
  command = plan

  variables {
    object_expiration_days = -1
  }

  expect_failures = [var.object_expiration_days]
}

run "rejects_multipart_upload_days_below_one" {
  command = plan

  variables {
    multipart_upload_days = 0
  }

  expect_failures = [var.multipart_upload_days]
}

run "forgets_what_was_unpacked_when_its_rows_may_no_longer_be_read" {
  assert {
    condition = one([
      for r in aws_s3_bucket_lifecycle_configuration.this.rule : "${r.filter[0].prefix} ${r.expiration[0].days}" if r.id == "expire-unpacked"
    ]) == "unpacked/ 30"
    error_message = "A plain copy of a gzip upload is kept as long as a replaced version of an upload, and no other object expires with it."
  }
}
