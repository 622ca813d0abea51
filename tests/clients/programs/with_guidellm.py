"""GuideLLM: `guidellm run`, chats of made-up prompts at a fixed concurrency."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from scene import BASE_URL, MODEL, case, main

GUIDELLM = str(Path(sys.executable).with_name("guidellm"))
TOKENIZER = str(Path(__file__).parents[3] / "server_image/sample_model/pagoda-tiny")
OPTIONS = {
    "--backend": f"kind=openai_http,target={BASE_URL.removesuffix('/v1')},model={MODEL}",
    "--profile": "kind=concurrent,streams=2",
    "--constraint": "kind=max_requests,count=8",
    "--tokenizer": f"kind=huggingface_auto,model={TOKENIZER}",
    "--data": "kind=synthetic_text,prompt_tokens=30,output_tokens=20",
}


@case
def load():
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = [word for option in OPTIONS.items() for word in option]
        command = [GUIDELLM, "run", *words, "--output", f"kind=json,path={report}", "--disable-progress"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        metrics = json.loads(report.read_text())["benchmarks"][0]["metrics"]
    return {
        "completed": metrics["request_totals"]["successful"],
        "failed": metrics["request_totals"]["errored"],
        "first_token_ms": metrics["time_to_first_token_ms"]["successful"]["mean"],
        "output_tokens": metrics["output_token_count"]["successful"]["total_sum"],
    }


main()
