"""Pagoda's engine measured beside its peers: the same work, on the same machine, with every figure dated.

Nothing here is part of the product. Modules import torch, vllm, transformers and aiohttp only where they run them, so
that a peer is measured where nothing of ours is installed, and results can be merged and rendered anywhere.
"""

import sys
from pathlib import Path

# NB: the table of shapes is the server's, and the server need not be installed. Where it is, that one comes first.
sys.path.append(str(Path(__file__).parents[1] / "server_image"))
