"""Weights come whole through the ring of pinned buffers."""

from pathlib import Path

import pytest
import torch

from pagoda_server.model.config import read_model_config
from pagoda_server.model.loader import load_model

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]
FOLDER = Path(__file__).parents[2] / "server_image" / "sample_model" / "pagoda-tiny"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_gpu_gets_what_a_cpu_gets(dtype: torch.dtype) -> None:
    config = read_model_config(FOLDER)
    expected = load_model(FOLDER, config, torch.device("cpu"), dtype).state_dict()
    for _ in range(5):
        found = load_model(FOLDER, config, torch.device("cuda"), dtype).state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name].cpu(), tensor) for name, tensor in expected.items())
