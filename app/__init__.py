"""What the world sees and what we remember: the web process, the rules, and Postgres."""
