"""What makes `/v1/responses` go on from an answer given before: answers kept here, and a question made whole again.

The server behind knows nothing of it: it is sent every conversation as a whole. Nothing here may look into an answer
that is not to be kept.
"""
