resource "aws_cloudwatch_event_bus" "this" {
  name = var.name
}

resource "aws_cloudwatch_event_rule" "this" {
  name           = "${var.name}-completions"
  description    = "The end of a batch, whichever it is."
  event_bus_name = aws_cloudwatch_event_bus.this.name

  event_pattern = jsonencode({
    source      = ["tally"]
    detail-type = ["Batch Completed", "Batch Rejected"]
  })
}

module "queue" {
  source = "../queue"

  name                          = "${var.name}-completions"
  arn_prefix                    = var.arn_prefix
  consumer_timeout_seconds      = var.consumer_timeout_seconds
  visibility_timeout_seconds    = 6 * var.consumer_timeout_seconds
  message_retention_seconds     = var.message_retention_seconds
  dlq_message_retention_seconds = var.dlq_message_retention_seconds
  max_receive_count             = var.max_receive_count

  allowed_sender = {
    service    = "events.amazonaws.com"
    source_arn = aws_cloudwatch_event_rule.this.arn
  }
}

resource "aws_cloudwatch_event_target" "this" {
  event_bus_name = aws_cloudwatch_event_bus.this.name
  rule           = aws_cloudwatch_event_rule.this.name
  target_id      = "completions"
  arn            = module.queue.arn

  # An event that EventBridge cannot deliver for a day is kept, not dropped.
  dead_letter_config {
    arn = module.queue.dlq_arn
  }
}
