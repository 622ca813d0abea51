"""Models' own notations for tool calls, one file a notation."""
