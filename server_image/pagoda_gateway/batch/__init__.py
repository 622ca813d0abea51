"""OpenAI's files and batches: kept in a store that all replicas share, run in the gaps that live requests leave.

The relay knows nothing of it, and nothing here may make a live request slower.
"""
