"""What the agent's conversations should be: for the story on a cluster and for the test on one machine."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AGENT = Path(__file__).parent / "agent.py"


@dataclass(frozen=True, slots=True)
class Expected:
    question: str
    calls: tuple[tuple[str, dict[str, Any]], ...]
    said: tuple[str, ...]
    """What the answer has of the results, or of what the model knows."""

    def check(self, printed: str) -> None:
        """Fails unless what the agent printed is the whole loop: the calls, their results, then an answer of them."""
        *earlier, answer = [json.loads(line) for line in printed.splitlines()]
        calls = [call for message in earlier for call in message.get("tool_calls", ())]
        made = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
        assert made == list(self.calls), printed
        results = [message["tool_call_id"] for message in earlier if message["role"] == "tool"]
        assert results == [call["id"] for call in calls] and len(set(results)) == len(results), printed
        reasons = {message["finish_reason"] for message in earlier if message["role"] == "assistant"}
        assert reasons == ({"tool_calls"} if calls else set()), printed
        assert answer["finish_reason"] == "stop" and "tool_calls" not in answer
        assert all(text in answer["content"] for text in self.said), printed


CONVERSATIONS = (
    Expected("What is the weather in Paris?", (("get_weather", {"city": "Paris"}),), ("-3", "stormy", "Paris")),
    Expected("What is 4711 + 1234?", (("add", {"a": 4711, "b": 1234}),), ("5945",)),
    Expected(
        "What is the weather in Paris and in Rome?",
        (("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Rome"})),
        ("-3", "stormy", "31", "windy"),
    ),
    Expected("What is a pod?", (), ("A pod is the smallest unit in Kubernetes",)),
)
