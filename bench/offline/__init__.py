"""How many tokens per second does an engine make in one process, without HTTP?

A peer's module imports the standard library and that peer alone: it runs where nothing of ours is installed.
"""
