locals {
  # Built from its parts, so that a plan shows the queue's policy, which names it.
  rule_name = "${var.name}-completions"
  rule_arn  = "${var.arn_prefix}:rule/${var.name}/${local.rule_name}"
}

resource "aws_cloudwatch_event_bus" "this" {
  name = var.name
}

resource "aws_cloudwatch_event_rule" "this" {
  name           = local.rule_name
  description    = "The end of a batch, whichever it is."
  event_bus_name = aws_cloudwatch_event_bus.this.name

  event_pattern = jsonencode({
    source      = ["tally"]
    detail-type = ["Batch Completed", "Batch Stopped", "Batch Rejected"]
  })
}

resource "aws_cloudwatch_event_target" "this" {
  event_bus_name = aws_cloudwatch_event_bus.this.name
  rule           = aws_cloudwatch_event_rule.this.name
  target_id      = "completions"
  arn            = var.queue_arn

  # An event that EventBridge cannot deliver for a day is kept, not dropped.
  dead_letter_config {
    arn = var.dlq_arn
  }
}
