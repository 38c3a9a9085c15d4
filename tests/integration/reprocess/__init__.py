"""Moving a collection to another face model version, on real parts with a second embedder."""
