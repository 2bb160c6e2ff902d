# What groundtrail reads in an account: one queue that is told of CloudTrail's files, VPC flow logs and GuardDuty's findings, and a role that may
# read them and nothing else. A test holds it to ../cloudformation.yaml, which says why each part is as it is.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  account      = data.aws_caller_identity.this.account_id
  partition    = data.aws_partition.this.partition
  region       = data.aws_region.this.id
  makes_bucket = var.log_bucket == ""
  uses_kms     = var.encryption == "kms"
  bucket       = local.makes_bucket ? "groundtrail-logs-${local.account}-${local.region}" : var.log_bucket
  bucket_arn   = "arn:${local.partition}:s3:::${local.bucket}"
  trail_arn    = "arn:${local.partition}:cloudtrail:${local.region}:${local.account}:trail/groundtrail"
  key_arn      = local.uses_kms ? aws_kms_key.this[0].arn : null
}

# The key

data "aws_iam_policy_document" "key" {
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }
  statement {
    sid       = "Notifications"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
  statement {
    sid       = "EventBridge"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
  statement {
    sid       = "Trail"
    actions   = ["kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["cloudtrail.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceArn"
      values   = [local.trail_arn]
    }
  }
  statement {
    sid       = "FlowLogs"
    actions   = ["kms:GenerateDataKey*", "kms:Decrypt", "kms:DescribeKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["delivery.logs.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_kms_key" "this" {
  count               = local.uses_kms ? 1 : 0
  description         = "groundtrail, queues and logs"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.key.json
  # What was encrypted with it is still to be read: who goes back to `sqs` takes the key out of the state first.
  lifecycle {
    prevent_destroy = true
  }
}

# Queues

resource "aws_sqs_queue" "this" {
  name                              = "groundtrail"
  message_retention_seconds         = 1209600
  visibility_timeout_seconds        = 300
  receive_wait_time_seconds         = 20
  sqs_managed_sse_enabled           = local.uses_kms ? null : true
  kms_master_key_id                 = local.key_arn
  kms_data_key_reuse_period_seconds = local.uses_kms ? 3600 : null
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = 50
  })
}

resource "aws_sqs_queue" "dead" {
  name                              = "groundtrail-dead"
  message_retention_seconds         = 1209600
  sqs_managed_sse_enabled           = local.uses_kms ? null : true
  kms_master_key_id                 = local.key_arn
  kms_data_key_reuse_period_seconds = local.uses_kms ? 3600 : null
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = ["arn:${local.partition}:sqs:${local.region}:${local.account}:groundtrail"]
  })
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = "Bucket"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.this.arn]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.bucket_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
  statement {
    sid       = "EventBridge"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.this.arn]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values = [
        "arn:${local.partition}:events:${local.region}:${local.account}:rule/groundtrail-guardduty",
        "arn:${local.partition}:events:${local.region}:${local.account}:rule/groundtrail-management-events",
      ]
    }
  }
  statement {
    sid       = "OnlyEncrypted"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.this.arn]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "this" {
  queue_url = aws_sqs_queue.this.url
  policy    = data.aws_iam_policy_document.queue.json
}

# The bucket and its trail, where there is none

resource "aws_s3_bucket" "logs" {
  count  = local.makes_bucket ? 1 : 0
  bucket = local.bucket
  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_public_access_block" "logs" {
  count                   = local.makes_bucket ? 1 : 0
  bucket                  = aws_s3_bucket.logs[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "logs" {
  count  = local.makes_bucket ? 1 : 0
  bucket = aws_s3_bucket.logs[0].id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "logs" {
  count  = local.makes_bucket ? 1 : 0
  bucket = aws_s3_bucket.logs[0].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "logs" {
  count  = local.makes_bucket ? 1 : 0
  bucket = aws_s3_bucket.logs[0].id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = local.uses_kms ? "aws:kms" : "AES256"
      kms_master_key_id = local.key_arn
    }
    bucket_key_enabled = local.uses_kms
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  count  = local.makes_bucket ? 1 : 0
  bucket = aws_s3_bucket.logs[0].id
  rule {
    id     = "Age"
    status = "Enabled"
    filter {}
    expiration {
      days = 400
    }
    noncurrent_version_expiration {
      noncurrent_days = 30
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

# A bucket has one set of notifications: what it told others before has to be added here.
resource "aws_s3_bucket_notification" "logs" {
  bucket = local.makes_bucket ? aws_s3_bucket.logs[0].id : var.log_bucket
  queue {
    queue_arn = aws_sqs_queue.this.arn
    events    = ["s3:ObjectCreated:*"]
  }
  depends_on = [aws_sqs_queue_policy.this]
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "TrailAsks"
    actions   = ["s3:GetBucketAcl"]
    resources = [local.bucket_arn]
    principals {
      type        = "Service"
      identifiers = ["cloudtrail.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceArn"
      values   = [local.trail_arn]
    }
  }
  statement {
    sid     = "TrailWrites"
    actions = ["s3:PutObject"]
    resources = concat(
      ["${local.bucket_arn}/AWSLogs/${local.account}/*"],
      var.organization_id == "" ? [] : ["${local.bucket_arn}/AWSLogs/${var.organization_id}/*"],
    )
    principals {
      type        = "Service"
      identifiers = ["cloudtrail.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceArn"
      values   = [local.trail_arn]
    }
  }
  statement {
    sid       = "FlowLogsAsk"
    actions   = ["s3:GetBucketAcl", "s3:ListBucket"]
    resources = [local.bucket_arn]
    principals {
      type        = "Service"
      identifiers = ["delivery.logs.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
  statement {
    sid       = "FlowLogsWrite"
    actions   = ["s3:PutObject"]
    resources = ["${local.bucket_arn}/AWSLogs/${local.account}/vpcflowlogs/*"]
    principals {
      type        = "Service"
      identifiers = ["delivery.logs.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
  statement {
    sid       = "OnlyEncrypted"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [local.bucket_arn, "${local.bucket_arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "logs" {
  count  = local.makes_bucket ? 1 : 0
  bucket = aws_s3_bucket.logs[0].id
  policy = data.aws_iam_policy_document.bucket.json
}

resource "aws_cloudtrail" "this" {
  count                         = local.makes_bucket ? 1 : 0
  name                          = "groundtrail"
  s3_bucket_name                = aws_s3_bucket.logs[0].id
  enable_logging                = true
  is_multi_region_trail         = true
  include_global_service_events = true
  is_organization_trail         = var.organization_id != ""
  enable_log_file_validation    = true
  kms_key_id                    = local.key_arn
  depends_on                    = [aws_s3_bucket_policy.logs]
}

resource "aws_flow_log" "this" {
  count                    = local.makes_bucket && var.flow_logs_of_vpc != "" ? 1 : 0
  vpc_id                   = var.flow_logs_of_vpc
  traffic_type             = "ALL"
  max_aggregation_interval = 60
  log_destination_type     = "s3"
  log_destination          = local.bucket_arn
  log_format = join(" ", [
    "$${version} $${account-id} $${interface-id} $${srcaddr} $${dstaddr} $${srcport} $${dstport} $${protocol} $${packets} $${bytes} $${start} $${end} $${action} $${log-status}",
    "$${vpc-id} $${subnet-id} $${instance-id} $${tcp-flags} $${type} $${pkt-srcaddr} $${pkt-dstaddr} $${region} $${az-id} $${pkt-src-aws-service} $${pkt-dst-aws-service}",
    "$${flow-direction} $${traffic-path}",
  ])
  depends_on = [aws_s3_bucket_policy.logs]
}

# EventBridge

resource "aws_cloudwatch_event_rule" "guardduty" {
  count       = var.guardduty ? 1 : 0
  name        = "groundtrail-guardduty"
  description = "GuardDuty's findings, for groundtrail"
  event_pattern = jsonencode({
    source      = ["aws.guardduty"]
    detail-type = ["GuardDuty Finding"]
  })
}

resource "aws_cloudwatch_event_target" "guardduty" {
  count     = var.guardduty ? 1 : 0
  rule      = aws_cloudwatch_event_rule.guardduty[0].name
  target_id = "queue"
  arn       = aws_sqs_queue.this.arn
}

resource "aws_cloudwatch_event_rule" "management_events" {
  count       = var.fast_management_events ? 1 : 0
  name        = "groundtrail-management-events"
  description = "CloudTrail's management events, for groundtrail"
  state       = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
  event_pattern = jsonencode({
    detail-type = ["AWS API Call via CloudTrail", "AWS Console Sign In via CloudTrail"]
  })
}

resource "aws_cloudwatch_event_target" "management_events" {
  count     = var.fast_management_events ? 1 : 0
  rule      = aws_cloudwatch_event_rule.management_events[0].name
  target_id = "queue"
  arn       = aws_sqs_queue.this.arn
}

# The role of the instance that the correlator runs on

data "aws_iam_policy_document" "assume" {
  statement {
    sid     = "Instance"
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  description        = "groundtrail's correlator - reads logs, writes alerts"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

data "aws_iam_policy_document" "feeds" {
  statement {
    sid       = "Queue"
    actions   = ["sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage"]
    resources = [aws_sqs_queue.this.arn]
  }
  statement {
    sid       = "DeadLetterQueue"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead.arn]
  }
  statement {
    sid       = "Objects"
    actions   = ["s3:GetObject"]
    resources = ["${local.bucket_arn}/*"]
  }
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arn]
  }
  dynamic "statement" {
    for_each = local.uses_kms ? [1] : []
    content {
      sid       = "OwnKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [local.key_arn]
    }
  }
  dynamic "statement" {
    for_each = var.log_key_arn == "" ? [] : [1]
    content {
      sid       = "LogKey"
      actions   = ["kms:Decrypt"]
      resources = [var.log_key_arn]
    }
  }
}

resource "aws_iam_role_policy" "feeds" {
  name   = "feeds"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.feeds.json
}

data "aws_iam_policy_document" "sinks" {
  dynamic "statement" {
    for_each = var.alert_bucket == "" ? [] : [1]
    content {
      sid       = "AlertBucket"
      actions   = ["s3:PutObject"]
      resources = ["arn:${local.partition}:s3:::${var.alert_bucket}/${var.alert_prefix}*"]
    }
  }
  dynamic "statement" {
    for_each = var.alert_queue_arn == "" ? [] : [1]
    content {
      sid       = "AlertQueue"
      actions   = ["sqs:SendMessage"]
      resources = [var.alert_queue_arn]
    }
  }
  dynamic "statement" {
    for_each = var.alert_topic_arn == "" ? [] : [1]
    content {
      sid       = "AlertTopic"
      actions   = ["sns:Publish"]
      resources = [var.alert_topic_arn]
    }
  }
  dynamic "statement" {
    for_each = var.alert_key_arn == "" ? [] : [1]
    content {
      sid       = "AlertKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [var.alert_key_arn]
    }
  }
  dynamic "statement" {
    for_each = var.security_hub ? [1] : []
    content {
      sid       = "SecurityHub"
      actions   = ["securityhub:BatchImportFindings"]
      resources = ["arn:${local.partition}:securityhub:${local.region}:${local.account}:product/${local.account}/default"]
    }
  }
}

resource "aws_iam_role_policy" "sinks" {
  count  = var.alert_bucket != "" || var.alert_queue_arn != "" || var.alert_topic_arn != "" || var.alert_key_arn != "" || var.security_hub ? 1 : 0
  name   = "sinks"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.sinks.json
}

resource "aws_iam_instance_profile" "this" {
  role = aws_iam_role.this.name
}
