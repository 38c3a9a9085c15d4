"""Every route of the web application, called in this process: what an account sees, what a key may do, what may be sent."""
