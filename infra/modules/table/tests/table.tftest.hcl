mock_provider "aws" {}

variables {
  name = "tally-test"
}

run "streams_both_images_of_every_change" {
  assert {
    condition     = aws_dynamodb_table.this.stream_enabled && aws_dynamodb_table.this.stream_view_type == "NEW_AND_OLD_IMAGES"
    error_message = "The stream is the outbox: it must carry new and old images."
  }
}

run "is_keyed_by_pk_and_sk_on_demand" {
  assert {
    condition = (
      aws_dynamodb_table.this.hash_key == "pk"
      && aws_dynamodb_table.this.range_key == "sk"
      && aws_dynamodb_table.this.billing_mode == "PAY_PER_REQUEST"
    )
    error_message = "Keys are pk and sk, capacity is on demand."
  }
}

run "lists_batches_by_creation_without_copying_them" {
  assert {
    condition = one(aws_dynamodb_table.this.global_secondary_index) == one([
      for i in aws_dynamodb_table.this.global_secondary_index : i
      if i.name == "batches" && i.hash_key == "listing" && i.range_key == "created_at" && i.projection_type == "KEYS_ONLY"
    ])
    error_message = "The one index is batches (listing, created_at), keys only."
  }
}

run "expires_items_at_expires_at" {
  assert {
    condition     = aws_dynamodb_table.this.ttl[0].enabled && aws_dynamodb_table.this.ttl[0].attribute_name == "expires_at"
    error_message = "TTL must read expires_at."
  }
}

run "is_protected_and_backed_up_by_default" {
  assert {
    condition = (
      aws_dynamodb_table.this.deletion_protection_enabled
      && aws_dynamodb_table.this.point_in_time_recovery[0].enabled
      && aws_dynamodb_table.this.server_side_encryption[0].enabled
    )
    error_message = "Deletion protection, recovery and encryption are on unless turned off."
  }
}

run "rejects_a_name_dynamodb_would_refuse" {
  command = plan

  variables {
    name = "tally test"
  }

  expect_failures = [var.name]
}

run "scales_nothing_on_demand" {
  command = plan

  assert {
    condition     = length(aws_appautoscaling_target.this) == 0 && length(aws_appautoscaling_policy.this) == 0
    error_message = "On demand needs no auto scaling."
  }
}

run "encrypts_with_the_customers_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/customer"
  }

  assert {
    condition     = one(aws_dynamodb_table.this.server_side_encryption).kms_key_arn == "arn:aws:kms:us-east-1:123456789012:key/customer"
    error_message = "The key must be the one given."
  }
}

run "may_be_deleted_and_forgotten_when_told" {
  command = plan

  variables {
    deletion_protection    = false
    point_in_time_recovery = false
  }

  assert {
    condition     = !output.deletion_protection && !aws_dynamodb_table.this.point_in_time_recovery[0].enabled
    error_message = "Both must be a choice."
  }
}

run "plans_the_example" {
  command = plan

  module {
    source = "./examples/basic"
  }
}

run "rejects_the_alias_of_a_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:alias/customer"
  }

  expect_failures = [var.kms_key_arn]
}
