"""What the gateway needs to keep files and run batches: a folder or a bucket, flags, keys, a way out."""

from urllib.parse import urlsplit

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.kube.quantity import parse_bytes

BATCH_PATH = "/var/lib/pagoda/batch"
VOLUME = "batch"
CACHE_SUB_PATH = "pagoda-batch"
"""In the model's own claim. NB: `pagoda fetch` keeps this folder when it empties the claim for another model."""
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
HTTPS_PORT, HTTP_PORT = 443, 80
MIB = 2**20


def build_batch_flags(mdep: ModelDeployment) -> list[str]:
    batch = mdep.spec.batch
    if batch is None:
        return []
    flags = ["--batch-store", batch.s3.uri if batch.s3 else BATCH_PATH]
    if batch.s3 and batch.s3.endpoint:
        flags += ["--batch-s3-endpoint", batch.s3.endpoint]
    if batch.s3 and batch.s3.region:
        flags += ["--batch-s3-region", batch.s3.region]
    flags += ["--batch-max-file-bytes", str(parse_bytes(batch.max_file_size))]
    flags += ["--batch-max-files", str(batch.max_files)]
    flags += ["--batch-max-total-bytes", str(parse_bytes(batch.max_total_size))]
    return flags + ["--batch-max-requests", str(batch.max_requests), "--batch-share", f"{batch.share:g}"]


def build_batch_environment(mdep: ModelDeployment) -> list[Object]:
    """Returns the bucket's keys, each from its key of the Secret."""
    bucket = mdep.spec.batch.s3 if mdep.spec.batch else None
    if bucket is None or bucket.secret_name is None:
        return []
    name = bucket.secret_name
    return [{"name": key, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}} for key in KEYS]


def build_batch_volumes(mdep: ModelDeployment) -> list[Object]:
    """Returns the claim that is there for batches alone; the model's cache is a volume already."""
    batch = mdep.spec.batch
    if batch is None or not batch.existing_claim:
        return []
    return [{"name": VOLUME, "persistentVolumeClaim": {"claimName": batch.existing_claim}}]


def build_batch_mounts(mdep: ModelDeployment) -> list[Object]:
    """Returns where the gateway sees the folder. NB: it never sees the weights beside it."""
    batch = mdep.spec.batch
    if batch is None or batch.s3:
        return []
    if batch.existing_claim:
        return [{"name": VOLUME, "mountPath": BATCH_PATH, "subPath": f"{mdep.name}.batch"}]
    cache = mdep.spec.model.cache
    is_shared = cache is not None and cache.existing_claim
    return [
        {"name": "models", "mountPath": BATCH_PATH, "subPath": f"{mdep.name}.batch" if is_shared else CACHE_SUB_PATH}
    ]


def find_bucket_port(mdep: ModelDeployment) -> int | None:
    bucket = mdep.spec.batch.s3 if mdep.spec.batch else None
    if bucket is None:
        return None
    parts = urlsplit(bucket.endpoint or "https://")
    return parts.port or (HTTPS_PORT if parts.scheme == "https" else HTTP_PORT)


def find_upload_mebibytes(mdep: ModelDeployment) -> int:
    """Returns how large a request an Ingress must let through for files; 0 without any."""
    batch = mdep.spec.batch
    return 0 if batch is None else -(-parse_bytes(batch.max_file_size) // MIB) + 1
