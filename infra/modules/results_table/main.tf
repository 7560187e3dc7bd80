locals {
  provisioned = var.provisioned_capacity != null

  # By what Application Auto Scaling calls it.
  scaled = local.provisioned ? {
    read  = merge(var.provisioned_capacity.read, { dimension = "dynamodb:table:ReadCapacityUnits", metric = "DynamoDBReadCapacityUtilization" })
    write = merge(var.provisioned_capacity.write, { dimension = "dynamodb:table:WriteCapacityUnits", metric = "DynamoDBWriteCapacityUtilization" })
  } : {}
}

resource "aws_dynamodb_table" "this" {
  name           = var.name
  billing_mode   = local.provisioned ? "PROVISIONED" : "PAY_PER_REQUEST"
  read_capacity  = one(var.provisioned_capacity[*].read.min)
  write_capacity = one(var.provisioned_capacity[*].write.min)

  # The key spreads the items over partitions; the job keeps apart what two jobs call the same.
  hash_key  = "key"
  range_key = "job"

  deletion_protection_enabled = var.deletion_protection

  attribute {
    name = "key"
    type = "S"
  }

  attribute {
    name = "job"
    type = "S"
  }

  # Items have it only where results are to expire.
  ttl {
    enabled        = true
    attribute_name = "expires_at"
  }

  # Without a key of the customer's, the AWS managed key of the account (aws/dynamodb); without this block, one that AWS owns.
  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }

  lifecycle {
    # Auto scaling moves these.
    ignore_changes = [read_capacity, write_capacity]
  }
}

resource "aws_appautoscaling_target" "this" {
  for_each = local.scaled

  service_namespace  = "dynamodb"
  resource_id        = "table/${aws_dynamodb_table.this.name}"
  scalable_dimension = each.value.dimension
  min_capacity       = each.value.min
  max_capacity       = each.value.max
}

resource "aws_appautoscaling_policy" "this" {
  for_each = local.scaled

  name               = "${var.name}/table/${each.key}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[each.key].service_namespace
  resource_id        = aws_appautoscaling_target.this[each.key].resource_id
  scalable_dimension = aws_appautoscaling_target.this[each.key].scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value = var.provisioned_capacity.target_utilization_percent

    predefined_metric_specification {
      predefined_metric_type = each.value.metric
    }
  }
}
