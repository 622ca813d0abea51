"""The GPUs of the models' pods. Closed at first: it needs NVIDIA's DCGM exporter."""

from helm.dashboards.panels import Json, graph, row
from helm.dashboards.queries import gpu

LEGEND = "{{model_deployment}} {{pod}} GPU {{gpu}}"
NEEDS = "Needs NVIDIA's DCGM exporter. By the pod that uses the GPU. "
NONE = "Needs the DCGM exporter"


def gpus() -> Json:
    panels = [
        _graph("GPU utilisation", "Time in which a kernel ran.", "percent", gpu("DCGM_FI_DEV_GPU_UTIL", "avg")),
        _graph("GPU memory used", "Weights, KV cache, graphs.", "decmbytes", gpu("DCGM_FI_DEV_FB_USED", "sum")),
        _graph("GPU power", "A GPU at its limit lowers its clock.", "watt", gpu("DCGM_FI_DEV_POWER_USAGE", "sum")),
        _graph("GPU temperature", "Above about 85 °C it slows.", "celsius", gpu("DCGM_FI_DEV_GPU_TEMP", "max")),
    ]
    return row("GPUs (needs the DCGM exporter)", panels, collapsed=True)


def _graph(title: str, about: str, unit: str, query: str) -> Json:
    return graph(title, NEEDS + about, unit, {LEGEND: query}, side=True, none=NONE)
