terraform {
  required_version = ">= 1.9"
}

provider "aws" {
  region = "us-east-1"
}

data "aws_caller_identity" "current" {}

module "alarms" {
  source = "../.."

  name             = "example-alarms"
  alarm_arn_prefix = "arn:aws:cloudwatch:us-east-1:${data.aws_caller_identity.current.account_id}:alarm"

  failure_queues = {
    example-work-dlq = { description = "Messages that process gave up on. See runbook.md#dead-letters." }
    example-failures = { description = "Uploads that plan gave up on. See runbook.md#failures." }
  }

  queues = {
    example-work = {
      description               = "Work waits longer than it should. See runbook.md#behind."
      oldest_message_seconds    = 3600
      message_retention_seconds = 345600
    }
  }

  functions = {
    example-process = {
      errors_description    = "process fails again and again. See runbook.md#errors."
      throttles_description = "Lambda refuses to run process. See runbook.md#throttles."
    }

    example-dead_letters = {
      invoked_description = "Messages came to a dead-letter queue. See runbook.md#dead-letters."
    }
  }
}

output "topic_arn" {
  description = "What to subscribe to."
  value       = module.alarms.topic_arn
}
