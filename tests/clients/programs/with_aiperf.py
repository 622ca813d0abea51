"""AIPerf: `aiperf profile`, streamed chats of made-up prompts, counted by the model's own tokenizer."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from scene import BASE_URL, MODEL, case, main

AIPERF = str(Path(sys.executable).with_name("aiperf"))
TOKENIZER = str(Path(__file__).parents[3] / "server_image/sample_model/pagoda-tiny")
OPTIONS = {
    "--model": MODEL,
    "--url": BASE_URL.removesuffix("/v1"),
    "--endpoint-type": "chat",
    "--tokenizer": TOKENIZER,
    "--request-count": "8",
    "--concurrency": "2",
    "--synthetic-input-tokens-mean": "30",
    "--output-tokens-mean": "20",
    "--ui": "none",
}


@case
def load():
    with tempfile.TemporaryDirectory() as folder:
        words = [word for option in OPTIONS.items() for word in option]
        command = [AIPERF, "profile", *words, "--streaming", "--artifact-dir", folder]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads((Path(folder) / "profile_export_aiperf.json").read_text())
    return {
        "completed": report["completed_request_count"]["avg"],
        "failed": sum(one["count"] for one in report["error_summary"]),
        "first_token_ms": report["time_to_first_token"]["avg"],
        "output_tokens": report["total_usage_completion_tokens"]["avg"],
    }


main()
