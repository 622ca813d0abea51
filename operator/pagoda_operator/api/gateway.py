"""What the gateway of each replica offers beside the API, as the spec says it."""

from typing import Annotated

from pydantic import Field

from pagoda_guard.origins import ORIGIN_PATTERN
from pagoda_operator.api.base import ApiModel

Origin = Annotated[str, Field(pattern=ORIGIN_PATTERN, max_length=280)]


class Cors(ApiModel):
    allowed_origins: Annotated[list[Origin], Field(min_length=1, max_length=64)] = Field(
        description="Origins whose web pages may read answers, e.g. https://chat.example.com, in lower case and "
        "without a path; * is any. A page still needs an API key where auth asks for one."
    )


class KeptResponses(ApiModel):
    count: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=1024, description="Maximum number of answers that each replica keeps. 0 keeps none."
    )
    seconds: Annotated[int, Field(ge=1, le=2_592_000)] = Field(
        default=3600, description="How long an answer is kept after it was used last."
    )


class Gateway(ApiModel):
    chat_page: bool = Field(
        default=False,
        description="Serves a page to chat with the model at / of the Service. The page needs no API key, what it asks "
        "does. An Ingress routes it only with path /.",
    )
    cors: Cors | None = Field(
        default=None, description="Lets web pages of other origins read answers. By default browsers hide them."
    )
    kept_responses: KeptResponses | None = Field(
        default=None,
        description="Answers of /v1/responses that a replica keeps in memory, for previous_response_id. A request with "
        "store: false is never kept.",
    )
