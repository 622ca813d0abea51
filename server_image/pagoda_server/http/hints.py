"""Fields that are taken and change no answer: labels of the caller's, and hints that a service may heed or not.

What they may hold is bounded all the same, so that a wrong one is found here and not by the next server.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from pagoda_server.http.strict import Strict

Label = Annotated[str, Field(max_length=1024)]
AnswerId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
ServiceTier = Literal["auto", "default", "flex", "scale", "priority", "fast"]
SERVED_TIER = "default"
"""What every answer says of its tier: there is one."""


class Hints(Strict):
    user: Label | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None
    session_id: Label | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    """Nothing is stored, whatever it says."""
    verbosity: Literal["low", "medium", "high"] | None = None
    prediction: dict[str, Any] | None = None
    spaces_between_special_tokens: bool | None = None
    """This tokenizer puts none where a text has none."""
    service_tier: ServiceTier | None = None
    request_id: AnswerId | None = None
    """The answer's id behind its prefix."""
