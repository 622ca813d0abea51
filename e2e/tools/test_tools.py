"""A person's agent gives the model tools: it calls them, reads what they return and answers with it."""

import json
import sys
from typing import Any

from .conversation import AGENT, CONVERSATIONS


def test_an_agent_calls_tools_and_answers_with_their_results(namespace: Any, wait_for: Any) -> None:
    namespace.apply("tools")
    namespace.wait_ready("tools")
    service = json.loads(namespace.kubectl("get", "service", "tools", "-o", "json"))
    url = f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"
    models = ("curl", "-fsS", "-m", "5", f"{url}/v1/models")
    wait_for(lambda: '"tools"' in namespace.cluster.run(*models, check=False), 20, f"{url} answers")
    for expected in CONVERSATIONS:
        command = (sys.executable, str(AGENT), f"{url}/v1", expected.question, "--model", "tools")
        for how in ((), ("--stream",)):
            expected.check(namespace.cluster.run(*command, *how))
