"""Clients that nobody changed for us: the AWS CLI, the AWS SDK for JavaScript, and boto3 behind a proxy."""
