"""Postgres: the schema and one function per query."""
