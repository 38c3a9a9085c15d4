"""Collections that grow out of shared buckets."""
