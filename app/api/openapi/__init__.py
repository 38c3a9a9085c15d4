"""Our HTTP surface as OpenAPI 3.1: tables of routes, and schemas made from the service model and our own constants.

What a table here says is held against the running stack by tests: every route of the application is described, and every
answer is one that is described.
"""
