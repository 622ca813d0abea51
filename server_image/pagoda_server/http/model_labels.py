"""How the server's series are called: under our names, and under vLLM's, so that boards made for vLLM work."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelLabels:
    """What every series says of itself: ours the deployment, vLLM's what vLLM's says."""

    model_name: str
    namespace: str = ""
    model_deployment: str = ""

    def name_series(self, names: str) -> list[tuple[str, dict[str, str]]]:
        """Returns full names with their labels for `own`, `own|alias` or `|alias|alias`: the aliases are vLLM's."""
        own, *aliases = names.split("|")
        ours = {"namespace": self.namespace, "model_deployment": self.model_deployment, "model_name": self.model_name}
        named = [(f"pagoda_server_{own}", ours)] if own else []
        return [*named, *((f"vllm:{alias}", self._theirs()) for alias in aliases)]

    def _theirs(self) -> dict[str, str]:
        return {"model_name": self.model_name, "engine": "0"}
