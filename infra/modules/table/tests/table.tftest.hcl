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

run "is_paid_by_request_unless_capacity_is_given" {
  assert {
    condition     = aws_dynamodb_table.this.billing_mode == "PAY_PER_REQUEST"
    error_message = "Nobody has to plan for capacity."
  }
}

run "gives_the_index_what_the_table_has" {
  variables {
    provisioned = { read_units = 3, write_units = 7 }
  }

  assert {
    condition = (
      aws_dynamodb_table.this.billing_mode == "PROVISIONED"
      && aws_dynamodb_table.this.write_capacity == 7
      && alltrue([for index in aws_dynamodb_table.this.global_secondary_index : index.read_capacity == 3 && index.write_capacity == 7])
    )
    error_message = "An index with less would hold the table's writes back."
  }
}

run "rejects_a_table_without_write_units" {
  command = plan

  variables {
    provisioned = { read_units = 3, write_units = 0 }
  }

  expect_failures = [var.provisioned]
}
