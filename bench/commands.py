"""The commands of `python -m bench`, by the question that each answers. A command's module is imported when it runs."""

from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    module: str
    """A module of `bench`, whose `main` takes the words after the command's name and returns the exit code."""
    summary: str
    explains_errors: bool = False
    """Its ValueError, OSError or RuntimeError says all there is to say: it is printed without a traceback."""

    def run(self, words: list[str]) -> int:
        code: int = import_module(f"bench.{self.module}").main(words)
        return code


GROUPS: dict[str, tuple[Command, ...]] = {
    "The yardstick: every engine on the same work": (
        Command("jobs", "plan", "list the jobs", explains_errors=True),
        Command("run", "run", "measure, one job after another, and merge", explains_errors=True),
        Command(
            "merge", "report.merge", "take figures measured elsewhere; write RESULTS.md anew", explains_errors=True
        ),
        Command("charts", "report.charts", "draw the charts of docs/images", explains_errors=True),
        Command("model-dir", "work.model_dir", "write a model's folder, with random weights if asked"),
    ),
    "Tokens per second without HTTP": (
        Command("pagoda-offline", "offline.pagoda", "our engine, on one GPU or several"),
        Command("vllm-offline", "offline.vllm", "vLLM"),
        Command("sampling", "offline.sampling", "our engine, each sampling field beside none"),
        Command("transformers-offline", "offline.transformers", "transformers' own continuous batching"),
    ),
    "An engine's server over HTTP": (
        Command("serving", "serving.server", "start-up, streaming load and long prompts, of our server or vLLM's"),
        Command("start", "serving.start", "from our server's start to its first token, by phase"),
        Command("http-load", "serving.http_load", "a closed loop of streams on any OpenAI endpoint"),
        Command(
            "open-loop",
            "serving.open_loop",
            "requests that come by themselves, with the lengths of a trace",
            explains_errors=True,
        ),
        Command("growing-chat", "serving.growing_chat", "conversations that send their history with each turn"),
        Command("interference", "serving.interference", "what a long prompt costs the streams of any OpenAI endpoint"),
        Command("beside-batch", "serving.beside_batch", "what a batch costs the live streams of a Pagoda endpoint"),
        Command("attacks", "serving.attacks.measure", "what a tenant's streams feel while another attacks"),
    ),
    "Where the time goes": (
        Command("kernels", "kernels.times", "each GPU kernel beside the time that it must take"),
        Command("profile", "profile.steps", "one step of our engine, by role and kernel"),
        Command("pacing", "simulate.pacing", "the closed loop in simulated time, without a GPU"),
    ),
    "Whether it stays right and lean": (
        Command("accuracy", "checks.accuracy", "what fp8 changes in the answers"),
        Command("endurance", "checks.endurance", "whether a long run of the engine leaks"),
        Command("hostile-grammars", "grammars.hostile", "whether any form of answer that is asked for can do harm"),
        Command("batch", "checks.batch", "whether a large batch is whole after kills, and lean"),
    ),
    "What the processes around the engine cost": (
        Command("front", "front.run", "CPU per token in the server's front"),
        Command(
            "grammars", "grammars.times", "what structured output costs: compiling, masks of a token and of a batch"
        ),
        Command("large-bodies", "front.large_bodies", "how long a large prompt holds up the event loop"),
        Command("relay", "relay.run", "CPU per chunk, memory and added latency in the gateway"),
        Command("models", "reconcile.models", "what many ModelDeployments cost the operator"),
    ),
}
COMMANDS = {command.name: command for group in GROUPS.values() for command in group}
