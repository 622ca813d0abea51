"""Files and batches of a model: where they are kept, and how much a tenant may keep and run.

The keys of a bucket sign requests and are never sent. So an author names a Secret as for downloads and API keys, and a
bucket's address may be any.
"""

from typing import Annotated

from pydantic import Field

from pagoda_operator.api.base import ApiModel, DnsName

SIZE_PATTERN = r"^[1-9][0-9]{0,11}(k|Ki|M|Mi|G|Gi|T|Ti)?$"
BUCKET_PATTERN = r"^s3://[a-z0-9][a-z0-9.-]{1,62}(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$"
ENDPOINT_PATTERN = r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$"

Size = Annotated[str, Field(pattern=SIZE_PATTERN, max_length=16)]


class BatchBucket(ApiModel):
    uri: Annotated[str, Field(pattern=BUCKET_PATTERN, max_length=512)] = Field(
        description="Bucket and folder, e.g. s3://my-bucket/models/chat. No two models may share a folder."
    )
    endpoint: Annotated[str, Field(pattern=ENDPOINT_PATTERN, max_length=253)] | None = Field(
        default=None, description="Address of an S3 that is not AWS, e.g. https://minio.storage:9000."
    )
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", max_length=63)] | None = Field(
        default=None, description="Region of the bucket. Defaults to us-east-1."
    )
    secret_name: DnsName | None = Field(
        default=None,
        description="Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Without it the pods' "
        "ServiceAccount must have a role that may use the bucket.",
    )


class Batch(ApiModel):
    existing_claim: DnsName | None = Field(
        default=None, description="Keeps files in this existing claim of yours instead of the model's cache volume."
    )
    s3: BatchBucket | None = Field(
        default=None, description="Keeps files in a folder of a bucket instead of the model's cache volume."
    )
    max_file_size: Size = Field(default="200Mi", description="Maximum size of a file.")
    max_files: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1000, description="Maximum number of files that a tenant keeps, outputs included."
    )
    max_total_size: Size = Field(
        default="10Gi", description="Maximum size of all files that a tenant keeps, outputs included."
    )
    max_requests: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=50_000, description="Maximum number of requests of a batch."
    )
    share: Annotated[float, Field(gt=0, le=0.75)] = Field(
        default=0.25,
        description="Maximum share of a replica's sequences that batches have beside live requests. Alone they have up "
        "to 0.75.",
    )
