"""What a user promises of a model, as shares of its requests: alerts tell when a promise is about to be broken.

A time must be a bound of the histogram that it is read from: what lies between two bounds nobody has counted.
"""

from typing import Annotated

from pydantic import Field

from pagoda_operator.api.base import ApiModel

# fmt: off
FIRST_TOKEN_BOUNDS = (
    0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300
)
"""Of `pagoda_gateway_time_to_first_token_seconds`."""
TOKEN_BOUNDS = (
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80
)
"""Of `pagoda_server_inter_token_latency_seconds`."""
# fmt: on

Share = Annotated[float, Field(ge=0.9, le=0.9999)]


class Objectives(ApiModel):
    time_to_first_token_seconds: float | None = Field(
        default=None,
        description="Time in which the first token of a streaming answer shall reach the client, its wait in the queue "
        f"included. One of {', '.join(f'{bound:g}' for bound in FIRST_TOKEN_BOUNDS)}.",
    )
    inter_token_latency_seconds: float | None = Field(
        default=None,
        description="Time between two tokens of an answer that shall not be exceeded. One of "
        f"{', '.join(f'{bound:g}' for bound in TOKEN_BOUNDS)}.",
    )
    share: Share = Field(
        default=0.99,
        description="Share of the streaming answers, or of the tokens, that shall meet each of these two times.",
    )
    availability: Share | None = Field(
        default=None,
        description="Share of the requests that shall be answered: neither refused for load (429, 503) nor failed "
        "(5xx). Requests that are wrong themselves, and those that clients give up, do not count.",
    )
