"""HTTP: bytes in, one call made, bytes out."""
