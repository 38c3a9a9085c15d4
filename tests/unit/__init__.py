"""No I/O: rules, geometry, signatures."""
