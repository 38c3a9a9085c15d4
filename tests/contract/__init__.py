"""The contract as callers see it: unmodified boto3 and plain HTTP against the live stack."""
