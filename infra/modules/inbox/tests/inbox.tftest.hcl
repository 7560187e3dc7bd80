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
      for s in jsondecode(aws_s3_bucket_policy.this[0].policy).Statement : s
      if s.Effect == "Deny" && s.Condition.Bool["aws:SecureTransport"] == "false"
    ]).Resource == ["arn:aws:s3:::tally-test-inbox", "arn:aws:s3:::tally-test-inbox/*"]
    error_message = "The policy must deny plain HTTP on the bucket and its objects."
  }
}

run "is_private_and_owned_by_the_account" {
  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this[0].block_public_acls,
      aws_s3_bucket_public_access_block.this[0].block_public_policy,
      aws_s3_bucket_public_access_block.this[0].ignore_public_acls,
      aws_s3_bucket_public_access_block.this[0].restrict_public_buckets,
    ])
    error_message = "All four public access blocks must be on."
  }

  assert {
    condition     = aws_s3_bucket_ownership_controls.this[0].rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "ACLs must be off."
  }
}

run "keeps_versions_so_that_a_batch_reads_what_was_uploaded" {
  assert {
    condition     = aws_s3_bucket_versioning.this[0].versioning_configuration[0].status == "Enabled"
    error_message = "Versioning must be on."
  }
}

run "keeps_objects_unless_told" {
  assert {
    condition     = !contains(aws_s3_bucket_lifecycle_configuration.this[0].rule[*].id, "expire-objects")
    error_message = "No expiry of current objects by default."
  }
}

run "expires_objects_when_told" {
  variables {
    object_expiration_days = 90
  }

  assert {
    condition = one([
      for r in aws_s3_bucket_lifecycle_configuration.this[0].rule : r if r.id == "expire-objects"
    ]).expiration[0].days == 90
    error_message = "Objects must expire after object_expiration_days."
  }
}

run "expires_results_and_nothing_else_when_told" {
  command = plan

  variables {
    results_expiration_days = 90
  }

  assert {
    condition = [
      for r in aws_s3_bucket_lifecycle_configuration.this[0].rule : "${r.filter[0].prefix} ${r.expiration[0].days}" if r.id == "expire-results"
    ] == ["results/ 90"]
    error_message = "Files of results must expire after results_expiration_days, and no upload with them."
  }
}

run "keeps_results_unless_told" {
  command = plan

  assert {
    condition     = !contains(aws_s3_bucket_lifecycle_configuration.this[0].rule[*].id, "expire-results")
    error_message = "0 must keep results."
  }
}

run "rejects_an_expiry_of_results_that_nothing_would_keep" {
  command = plan

  variables {
    lifecycle_rules         = false
    results_expiration_days = 90
  }

  expect_failures = [var.results_expiration_days]
}

run "has_no_lifecycle_rules_when_told" {
  command = plan

  variables {
    lifecycle_rules = false
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.this) == 0
    error_message = "The provider waits for a lifecycle configuration, whatever is in it: there must be none."
  }

  assert {
    condition     = aws_s3_bucket_versioning.this[0].versioning_configuration[0].status == "Enabled"
    error_message = "A batch reads its version with or without rules."
  }
}

run "rejects_an_expiry_without_lifecycle_rules" {
  command = plan

  variables {
    lifecycle_rules        = false
    object_expiration_days = 90
  }

  expect_failures = [var.lifecycle_rules]
}

run "keeps_a_filled_bucket_by_default" {
  assert {
    condition     = aws_s3_bucket.this[0].force_destroy == false
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

run "encrypts_with_a_key_of_s3_by_default" {
  command = plan

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "Encryption is on without a key of the customer's."
  }
}

run "encrypts_with_the_customers_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/customer"
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).bucket_key_enabled && one(one(aws_s3_bucket_server_side_encryption_configuration.this[0].rule).apply_server_side_encryption_by_default) == { sse_algorithm = "aws:kms", kms_master_key_id = "arn:aws:kms:us-east-1:123456789012:key/customer" }
    error_message = "The key must be the one given, asked once for many objects."
  }
}

run "keeps_no_access_log_unless_told" {
  command = plan

  assert {
    condition     = length(aws_s3_bucket_logging.this) == 0
    error_message = "No log by default."
  }
}

run "keeps_an_access_log_when_told" {
  command = plan

  variables {
    access_log_bucket = "logs"
  }

  assert {
    condition     = aws_s3_bucket_logging.this[0].target_bucket == "logs" && aws_s3_bucket_logging.this[0].target_prefix == "tally-test-inbox/"
    error_message = "The log must go to the bucket given, under this one's name."
  }
}

run "plans_the_example" {
  command = plan

  module {
    source = "./examples/basic"
  }

  assert {
    condition     = output.name == "example-inbox-123456789012"
    error_message = "The example must plan by itself."
  }
}

run "rejects_a_log_of_its_own_log" {
  command = plan

  variables {
    access_log_bucket = "tally-test-inbox"
  }

  expect_failures = [var.access_log_bucket]
}

run "rejects_the_alias_of_a_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:alias/customer"
  }

  expect_failures = [var.kms_key_arn]
}

run "leaves_an_existing_bucket_as_it_is" {
  command = plan

  variables {
    existing = true
  }

  override_data {
    target = data.aws_s3_bucket.this[0]
    values = { arn = "arn:aws:s3:::tally-test-inbox", bucket = "tally-test-inbox" }
  }

  assert {
    condition = length(concat(
      aws_s3_bucket.this, aws_s3_bucket_ownership_controls.this, aws_s3_bucket_public_access_block.this, aws_s3_bucket_versioning.this,
      aws_s3_bucket_server_side_encryption_configuration.this, aws_s3_bucket_lifecycle_configuration.this, aws_s3_bucket_policy.this,
    )) == 0
    error_message = "Nothing of it must be made or changed."
  }

  assert {
    condition     = output.arn == "arn:aws:s3:::tally-test-inbox"
    error_message = "The outputs must be those of the bucket that is there."
  }
}

run "keeps_corrections_as_long_as_uploads" {
  variables {
    object_expiration_days  = 90
    results_expiration_days = 7
  }

  assert {
    condition = sort([
      for r in aws_s3_bucket_lifecycle_configuration.this[0].rule : "${coalesce(r.filter[0].prefix, "all")} ${r.expiration[0].days}" if length(r.expiration) > 0
    ]) == tolist(["all 90", "results/ 7", "unpacked/ 30"])
    error_message = "Corrected rows are a part of what was uploaded: no rule but that of uploads lets them expire."
  }
}

run "forgets_what_was_unpacked_when_its_rows_may_no_longer_be_read" {
  assert {
    condition = one([
      for r in aws_s3_bucket_lifecycle_configuration.this[0].rule : "${r.filter[0].prefix} ${r.expiration[0].days}" if r.id == "expire-unpacked"
    ]) == "unpacked/ 30"
    error_message = "A plain copy of a gzip upload is kept as long as a replaced version of an upload, and no other object expires with it."
  }
}
