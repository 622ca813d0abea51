"""How the server's series are called: under our names, and under vLLM's, so that boards made for vLLM work."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelLabels:
    """What every series says of itself: ours the deployment, vLLM's what vLLM's says."""

    model_name: str
    namespace: str = ""
    model_deployment: str = ""

    def name_series(self, names: str) -> list[tuple[str, dict[str, str]]]:
        """Returns full names with their labels for `own`, `own|alias` or `|alias`: the alias is vLLM's."""
        own, _, alias = names.partition("|")
        ours = {"namespace": self.namespace, "model_deployment": self.model_deployment, "model_name": self.model_name}
        named = ((own, f"pagoda_server_{own}", ours), (alias, f"vllm:{alias}", self._theirs()))
        return [(full, series) for name, full, series in named if name]

    def _theirs(self) -> dict[str, str]:
        return {"model_name": self.model_name, "engine": "0"}
