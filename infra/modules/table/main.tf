resource "aws_dynamodb_table" "this" {
  name         = var.name
  billing_mode = var.provisioned == null ? "PAY_PER_REQUEST" : "PROVISIONED"
  hash_key     = "pk"
  range_key    = "sk"

  read_capacity  = try(var.provisioned.read_units, null)
  write_capacity = try(var.provisioned.write_units, null)

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

    read_capacity  = try(var.provisioned.read_units, null)
    write_capacity = try(var.provisioned.write_units, null)
  }

  ttl {
    enabled        = true
    attribute_name = "expires_at"
  }

  # The AWS managed key of the account (aws/dynamodb); without this block AWS encrypts with a key it owns.
  server_side_encryption {
    enabled = true
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }
}
