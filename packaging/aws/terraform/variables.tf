# The same as the parameters of ../cloudformation.yaml, under the same words.

variable "log_bucket" {
  description = "The bucket that a trail writes to already; its notifications are then this module's. Left empty, a bucket and a trail for all regions are made."
  type        = string
  default     = ""
}

variable "log_key_arn" {
  description = "The KMS key that encrypts the logs of a bucket that is there; empty where none does."
  type        = string
  default     = ""
}

variable "organization_id" {
  description = "The organization (o-...) whose trail writes into a bucket that is made here; empty for a trail of this account. Needs the organization's management account, since the policies name the trail of the account that this is applied in."
  type        = string
  default     = ""
}

variable "encryption" {
  description = "sqs: keys of AWS's own, at no cost. kms: a key of this account for queues, and for the bucket and the trail that are made here."
  type        = string
  default     = "sqs"
  validation {
    condition     = contains(["sqs", "kms"], var.encryption)
    error_message = "encryption is sqs or kms."
  }
}

variable "flow_logs_of_vpc" {
  description = "A VPC whose flow logs shall go to the bucket that is made here; empty for none."
  type        = string
  default     = ""
}

variable "guardduty" {
  description = "Whether findings come to the queue. GuardDuty itself has to be switched on. They are those of this region, and those of member accounts only where this account is GuardDuty's delegated administrator."
  type        = bool
  default     = true
}

variable "fast_management_events" {
  description = "Whether CloudTrail's management events also come through EventBridge, within a minute or so rather than in files minutes later. They are those of this account in this region; calls to IAM and other global services come to us-east-1 alone."
  type        = bool
  default     = false
}

variable "alert_bucket" {
  description = "A bucket that a sink of type s3 writes to; empty for none."
  type        = string
  default     = ""
}

variable "alert_prefix" {
  description = "What the keys of its objects begin with."
  type        = string
  default     = "groundtrail/"
}

variable "alert_queue_arn" {
  description = "A queue that a sink of type sqs writes to; empty for none."
  type        = string
  default     = ""
}

variable "alert_topic_arn" {
  description = "A topic that a sink of type sns writes to; empty for none."
  type        = string
  default     = ""
}

variable "alert_key_arn" {
  description = "The KMS key that encrypts what is in these; empty where none does."
  type        = string
  default     = ""
}

variable "security_hub" {
  description = "Whether a sink of type securityhub may import findings."
  type        = bool
  default     = false
}
