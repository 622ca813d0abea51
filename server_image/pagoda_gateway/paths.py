"""Which paths the gateway relays, and what each is: does it take a turn, and what do metrics and traces call it?

What is in neither table is "other" to them: a client must not be able to make series.
"""

import re

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
GENERATION_PATHS = frozenset({CHAT, COMPLETIONS, RESPONSES, MESSAGES})
"""What takes turns; the server answers anything else without its engine."""
ROOT_PATHS = ("/tokenize", "/detokenize", "/version", "/ping", "/openapi.json")
"""What is relayed beside `/v1/*`."""
BATCH_ROUTES = frozenset(
    {"/v1/files", "/v1/files/{file_id}", "/v1/files/{file_id}/content"}
    | {"/v1/batches", "/v1/batches/{batch_id}", "/v1/batches/{batch_id}/cancel"}
)
"""What is the gateway's own where batches are kept, already without what names one object."""
ROUTES = GENERATION_PATHS | {"/v1/models", f"{MESSAGES}/count_tokens", *ROOT_PATHS} | BATCH_ROUTES
ID_ROUTE = re.compile(r"(/v1/(?:models|responses)/)[^/]+(/input_items)?")
OTHER_ROUTE = "other"


def name_route(path: str) -> str:
    """Returns the path with what names one object left out, or "other"."""
    if path in ROUTES:
        return path
    named = ID_ROUTE.fullmatch(path)
    return f"{named[1]}{{id}}{named[2] or ''}" if named else OTHER_ROUTE
