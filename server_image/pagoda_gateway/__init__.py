"""The gateway: admits, orders, drains and relays requests in front of one model server.

It never looks at tokens, never loads a model and never talks to Kubernetes.
"""
