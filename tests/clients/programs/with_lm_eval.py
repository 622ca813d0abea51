"""lm-evaluation-harness: a task of log-likelihoods and one of generated answers, as `lm_eval` runs them."""

import json
import tempfile
from pathlib import Path

from lm_eval import simple_evaluate
from scene import BASE_URL, MODEL, case, main

TOKENIZER = Path(__file__).parents[3] / "server_image/sample_model/pagoda-tiny"
CAPITALS = {
    "Norway": "Oslo",
    "Chile": "Santiago",
    "France": "Paris",
    "Japan": "Tokyo",
    "Italy": "Rome",
    "Egypt": "Cairo",
}
ASKED = "<|user|>\nWhat is the capital of {{country}}?<|end|>\n<|assistant|>\n"


def evaluate(folder, **task):
    data = Path(folder) / "capitals.jsonl"
    rows = [{"country": country, "answer": index} for index, country in enumerate(CAPITALS)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}, "test_split": "test"}
    told = simple_evaluate(
        model="local-completions",
        model_args={
            "model": MODEL,
            "base_url": f"{BASE_URL}/completions",
            "tokenizer": str(TOKENIZER),
            "max_length": 2048,
            "num_concurrent": 2,
        },
        tasks=[{"task": "capitals", **files, **task}],
        bootstrap_iters=0,
    )
    return told["results"]["capitals"], told["samples"]["capitals"]


@case
def log_likelihoods():
    with tempfile.TemporaryDirectory() as folder:
        results, samples = evaluate(
            folder,
            output_type="multiple_choice",
            doc_to_text=ASKED,
            doc_to_choice=[f"The capital of {country} is {city}." for country, city in CAPITALS.items()],
            doc_to_target="answer",
            target_delimiter="",
            metric_list=[{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        )
    return {"accuracy": results["acc,none"], "samples": len(samples)}


@case
def generated():
    with tempfile.TemporaryDirectory() as folder:
        results, samples = evaluate(
            folder,
            output_type="generate_until",
            doc_to_text=ASKED,
            doc_to_target=f"{{{{ {list(CAPITALS.values())}[answer] }}}}",
            generation_kwargs={"until": ["."], "max_gen_toks": 40},
            filter_list=[
                {
                    "name": "last",
                    "filter": [{"function": "regex", "regex_pattern": r"is (\w+)"}, {"function": "take_first"}],
                }
            ],
            metric_list=[{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        )
    return {"accuracy": results["exact_match,last"], "samples": len(samples)}


main()
