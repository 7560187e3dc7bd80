mock_provider "aws" {}

variables {
  name           = "tally-test-results"
  writer_seconds = 298
}

run "is_keyed_by_key_and_job_on_demand" {
  assert {
    condition = (
      aws_dynamodb_table.this.hash_key == "key"
      && aws_dynamodb_table.this.range_key == "job"
      && aws_dynamodb_table.this.billing_mode == "PAY_PER_REQUEST"
    )
    error_message = "Keys are key and job, capacity is on demand."
  }

  assert {
    condition     = length(aws_appautoscaling_target.this) == 0 && output.write_share == 0
    error_message = "On demand nothing scales and nothing is paced."
  }
}

run "expires_items_at_expires_at" {
  assert {
    condition     = aws_dynamodb_table.this.ttl[0].enabled && aws_dynamodb_table.this.ttl[0].attribute_name == "expires_at"
    error_message = "TTL must read expires_at."
  }
}

run "is_protected_encrypted_and_backed_up_by_default" {
  assert {
    condition = (
      aws_dynamodb_table.this.deletion_protection_enabled
      && aws_dynamodb_table.this.point_in_time_recovery[0].enabled
      && aws_dynamodb_table.this.server_side_encryption[0].enabled
    )
    error_message = "Deletion protection, recovery and encryption are on unless turned off."
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

run "rejects_the_alias_of_a_key" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:alias/customer"
  }

  expect_failures = [var.kms_key_arn]
}

run "rejects_a_name_dynamodb_would_refuse" {
  command = plan

  variables {
    name = "tally results"
  }

  expect_failures = [var.name]
}

run "plans_the_example" {
  command = plan

  module {
    source = "./examples/basic"
  }
}

run "provisions_the_least_and_scales_from_there" {
  command = plan

  variables {
    name = "tally-new-results"
    provisioned_capacity = {
      read  = { min = 5, max = 500 }
      write = { min = 10, max = 1000 }
    }
  }

  assert {
    condition     = aws_dynamodb_table.this.billing_mode == "PROVISIONED" && output.least_read_units == 5 && output.least_write_units == 10
    error_message = "The table begins with the least."
  }

  assert {
    condition = {
      for name, target in aws_appautoscaling_target.this : name => [target.scalable_dimension, target.min_capacity, target.max_capacity]
      } == {
      read  = ["dynamodb:table:ReadCapacityUnits", 5, 500]
      write = ["dynamodb:table:WriteCapacityUnits", 10, 1000]
    }
    error_message = "Reads and writes must scale within their limits."
  }

  assert {
    condition = {
      for name, policy in aws_appautoscaling_policy.this : name => [
        one(policy.target_tracking_scaling_policy_configuration).target_value,
        one(one(policy.target_tracking_scaling_policy_configuration).predefined_metric_specification).predefined_metric_type,
      ]
      } == {
      read  = [70, "DynamoDBReadCapacityUtilization"]
      write = [70, "DynamoDBWriteCapacityUtilization"]
    }
    error_message = "Each dimension must track its own utilisation."
  }

  assert {
    condition     = output.write_share == 0.95
    error_message = "The writer must know its share."
  }
}

run "rejects_a_share_of_nothing" {
  command = plan

  variables {
    write_share = 0
  }

  expect_failures = [var.write_share]
}

run "rejects_a_writer_without_time" {
  command = plan

  variables {
    writer_seconds = 0
  }

  expect_failures = [var.writer_seconds]
}

run "rejects_a_maximum_below_its_minimum" {
  command = plan

  variables {
    provisioned_capacity = {
      read  = { min = 5, max = 4 }
      write = { min = 10, max = 1000 }
    }
  }

  expect_failures = [var.provisioned_capacity]
}

run "rejects_half_a_unit" {
  command = plan

  variables {
    provisioned_capacity = {
      read  = { min = 1.5, max = 500 }
      write = { min = 10, max = 1000 }
    }
  }

  expect_failures = [var.provisioned_capacity]
}

run "rejects_a_target_that_auto_scaling_does_not_take" {
  command = plan

  variables {
    provisioned_capacity = {
      read                       = { min = 5, max = 500 }
      write                      = { min = 10, max = 1000 }
      target_utilization_percent = 10
    }
  }

  expect_failures = [var.provisioned_capacity]
}

run "rejects_a_target_that_the_writers_share_never_reaches" {
  command = plan

  variables {
    write_share = 0.5
    provisioned_capacity = {
      read                       = { min = 5, max = 500 }
      write                      = { min = 10, max = 1000 }
      target_utilization_percent = 50
    }
  }

  expect_failures = [var.provisioned_capacity]
}

run "rejects_a_table_that_never_has_the_units_of_the_largest_item" {
  command = plan

  variables {
    writer_seconds = 900
    provisioned_capacity = {
      read  = { min = 1, max = 5 }
      write = { min = 1, max = 5 }
    }
  }

  expect_failures = [var.provisioned_capacity]
}

run "rejects_a_table_too_small_for_the_largest_item_in_the_writers_time" {
  command = plan

  variables {
    writer_seconds = 60
    provisioned_capacity = {
      read  = { min = 1, max = 5 }
      write = { min = 5, max = 5 }
    }
  }

  expect_failures = [var.provisioned_capacity]
}
