# Apart from the rest, for the table must be a new one: of one that is there, capacity is not Terraform's to change.
mock_provider "aws" {}

variables {
  name = "tally-test"
}

run "provisions_the_least_and_scales_from_there" {
  command = plan

  variables {
    provisioned_capacity = {
      read  = { min = 5, max = 500 }
      write = { min = 10, max = 1000 }
    }
  }

  assert {
    condition     = aws_dynamodb_table.this[0].billing_mode == "PROVISIONED" && aws_dynamodb_table.this[0].read_capacity == 5 && aws_dynamodb_table.this[0].write_capacity == 10
    error_message = "The table begins with the least."
  }

  assert {
    condition     = [for i in aws_dynamodb_table.this[0].global_secondary_index : [i.read_capacity, i.write_capacity]] == [[1, 5]]
    error_message = "So does its index."
  }

  assert {
    condition = {
      for name, target in aws_appautoscaling_target.this : name => [target.resource_id, target.scalable_dimension, target.min_capacity, target.max_capacity]
      } == {
      "table/read"          = ["table/tally-test", "dynamodb:table:ReadCapacityUnits", 5, 500]
      "table/write"         = ["table/tally-test", "dynamodb:table:WriteCapacityUnits", 10, 1000]
      "index/batches/read"  = ["table/tally-test/index/batches", "dynamodb:index:ReadCapacityUnits", 1, 50]
      "index/batches/write" = ["table/tally-test/index/batches", "dynamodb:index:WriteCapacityUnits", 5, 50]
    }
    error_message = "Reads and writes of the table and of its index must scale within their limits."
  }
}

run "tracks_seventy_percent_unless_told" {
  command = plan

  variables {
    provisioned_capacity = {
      read  = { min = 5, max = 500 }
      write = { min = 10, max = 1000 }
    }
  }

  assert {
    condition = {
      for name, policy in aws_appautoscaling_policy.this : name => [
        policy.policy_type,
        one(policy.target_tracking_scaling_policy_configuration).target_value,
        one(one(policy.target_tracking_scaling_policy_configuration).predefined_metric_specification).predefined_metric_type,
      ]
      } == {
      "table/read"          = ["TargetTrackingScaling", 70, "DynamoDBReadCapacityUtilization"]
      "table/write"         = ["TargetTrackingScaling", 70, "DynamoDBWriteCapacityUtilization"]
      "index/batches/read"  = ["TargetTrackingScaling", 70, "DynamoDBReadCapacityUtilization"]
      "index/batches/write" = ["TargetTrackingScaling", 70, "DynamoDBWriteCapacityUtilization"]
    }
    error_message = "Each dimension must track its own utilisation."
  }
}

run "tracks_the_target_that_was_given" {
  command = plan

  variables {
    provisioned_capacity = {
      read                       = { min = 5, max = 500 }
      write                      = { min = 10, max = 1000 }
      target_utilization_percent = 50
    }
  }

  assert {
    condition     = alltrue([for policy in aws_appautoscaling_policy.this : one(policy.target_tracking_scaling_policy_configuration).target_value == 50])
    error_message = "The target must be the one given."
  }
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

run "rejects_an_index_whose_maximum_is_below_its_minimum" {
  command = plan

  variables {
    provisioned_capacity = {
      read  = { min = 5, max = 500 }
      write = { min = 10, max = 1000 }
      batches_index = {
        read  = { min = 1, max = 1 }
        write = { min = 2, max = 1 }
      }
    }
  }

  expect_failures = [var.provisioned_capacity]
}

run "rejects_no_capacity" {
  command = plan

  variables {
    provisioned_capacity = {
      read  = { min = 0, max = 500 }
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
      target_utilization_percent = 95
    }
  }

  expect_failures = [var.provisioned_capacity]
}

run "begins_with_the_least" {
  variables {
    provisioned_capacity = {
      read  = { min = 5, max = 500 }
      write = { min = 10, max = 1000 }
    }
  }

  assert {
    condition     = aws_dynamodb_table.this[0].read_capacity == 5
    error_message = "The table begins with the least."
  }
}

run "does_not_undo_auto_scaling_when_the_least_changes" {
  variables {
    provisioned_capacity = {
      read  = { min = 7, max = 500 }
      write = { min = 10, max = 1000 }
    }
  }

  assert {
    condition     = aws_dynamodb_table.this[0].read_capacity == 5 && aws_appautoscaling_target.this["table/read"].min_capacity == 7
    error_message = "The table's capacity is auto scaling's to move; only its limits change."
  }
}
