"""The whole stack as processes, as a person or a server manager runs it."""
