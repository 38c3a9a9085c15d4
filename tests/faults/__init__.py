"""A stack whose parts are killed, frozen, wiped and slowed, and what must hold afterwards whatever was done."""
