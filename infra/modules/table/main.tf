locals {
  provisioned = var.provisioned_capacity != null

  # Made here, or there already.
  table = one(concat(aws_dynamodb_table.this, data.aws_dynamodb_table.this))

  # By what Application Auto Scaling calls it.
  scaled = local.provisioned ? {
    "table/read"          = merge(var.provisioned_capacity.read, { dimension = "dynamodb:table:ReadCapacityUnits", metric = "DynamoDBReadCapacityUtilization" })
    "table/write"         = merge(var.provisioned_capacity.write, { dimension = "dynamodb:table:WriteCapacityUnits", metric = "DynamoDBWriteCapacityUtilization" })
    "index/batches/read"  = merge(var.provisioned_capacity.batches_index.read, { dimension = "dynamodb:index:ReadCapacityUnits", metric = "DynamoDBReadCapacityUtilization" })
    "index/batches/write" = merge(var.provisioned_capacity.batches_index.write, { dimension = "dynamodb:index:WriteCapacityUnits", metric = "DynamoDBWriteCapacityUtilization" })
  } : {}
}

resource "aws_dynamodb_table" "this" {
  count = var.existing ? 0 : 1

  name           = var.name
  billing_mode   = local.provisioned ? "PROVISIONED" : "PAY_PER_REQUEST"
  read_capacity  = one(var.provisioned_capacity[*].read.min)
  write_capacity = one(var.provisioned_capacity[*].write.min)
  hash_key       = "pk"
  range_key      = "sk"

  # Every arrow of the flow starts here: what is written is what gets sent.
  stream_enabled   = true
  stream_view_type = "NEW_AND_OLD_IMAGES"

  deletion_protection_enabled = var.deletion_protection

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  attribute {
    name = "listing"
    type = "S"
  }

  attribute {
    name = "created_at"
    type = "S"
  }

  # Sparse: only batch items carry `listing`.
  global_secondary_index {
    name            = "batches"
    hash_key        = "listing"
    range_key       = "created_at"
    projection_type = "KEYS_ONLY"
    read_capacity   = one(var.provisioned_capacity[*].batches_index.read.min)
    write_capacity  = one(var.provisioned_capacity[*].batches_index.write.min)
  }

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
    # Auto scaling moves these. The index's are within its block, which can only be ignored as a whole.
    ignore_changes = [read_capacity, write_capacity, global_secondary_index]
  }
}

data "aws_dynamodb_table" "this" {
  count = var.existing ? 1 : 0

  name = var.name

  lifecycle {
    postcondition {
      condition     = self.hash_key == "pk" && self.range_key == "sk"
      error_message = "An existing table must have the keys pk and sk."
    }

    postcondition {
      condition     = self.stream_enabled && self.stream_view_type == "NEW_AND_OLD_IMAGES"
      error_message = "An existing table must have a stream of NEW_AND_OLD_IMAGES: what is written is what gets sent."
    }

    postcondition {
      condition     = anytrue([for index in self.global_secondary_index : index.name == "batches" && index.hash_key == "listing" && index.range_key == "created_at"])
      error_message = "An existing table must have the index batches, with the keys listing and created_at."
    }

    postcondition {
      condition     = anytrue([for ttl in self.ttl : ttl.enabled && ttl.attribute_name == "expires_at"])
      error_message = "An existing table must expire items at expires_at."
    }
  }
}

resource "aws_appautoscaling_target" "this" {
  for_each = local.scaled

  service_namespace  = "dynamodb"
  resource_id        = startswith(each.key, "index/") ? "table/${local.table.name}/index/batches" : "table/${local.table.name}"
  scalable_dimension = each.value.dimension
  min_capacity       = each.value.min
  max_capacity       = each.value.max
}

resource "aws_appautoscaling_policy" "this" {
  for_each = local.scaled

  name               = "${var.name}/${each.key}"
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
