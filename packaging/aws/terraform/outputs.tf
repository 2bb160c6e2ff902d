output "queue_url" {
  description = "For `queue` of the source of type sqs"
  value       = aws_sqs_queue.this.url
}

output "dead_letter_queue_url" {
  description = "For its `dead_letter_queue`"
  value       = aws_sqs_queue.dead.url
}

output "log_bucket_name" {
  description = "For its `buckets`, and for `bucket` of a source of type s3"
  value       = local.bucket
}

output "role_arn" {
  description = "The correlator's role"
  value       = aws_iam_role.this.arn
}

output "instance_profile_name" {
  description = "What the correlator's instance is launched with"
  value       = aws_iam_instance_profile.this.name
}
