"""Writes the generated CRDs, and says whether the files in the tree are those."""

from pathlib import Path

from pagoda_operator.api.crd import FILE_NAME, crd_yaml


def write_crds(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE_NAME
    path.write_text(crd_yaml())
    return path


def check_crds(directory: Path) -> bool:
    """Returns whether the file in the directory equals what the models generate."""
    path = directory / FILE_NAME
    return path.exists() and path.read_text() == crd_yaml()
