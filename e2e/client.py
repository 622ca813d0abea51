"""One streamed chat by the official openai client; a program of its own, to be run inside the cluster's namespaces.

Prints a JSON line for each chunk: when it came (seconds since the request was sent) and its text.
"""

import argparse
import json
import time

from openai import OpenAI


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    parser.add_argument("--host", help="the Host header, where no DNS knows the name")
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompt", default="Tell me a story about a fox.")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--api-key", default="none")
    args = parser.parse_args()
    headers = {"Host": args.host} if args.host else {}
    client = OpenAI(base_url=args.base_url, api_key=args.api_key, default_headers=headers, max_retries=0, timeout=120)
    start = time.monotonic()
    stream = client.chat.completions.create(
        model=args.model,
        messages=[{"role": "user", "content": args.prompt}],
        max_tokens=args.max_tokens,
        stream=True,
    )
    for chunk in stream:
        text = chunk.choices[0].delta.content or "" if chunk.choices else ""
        print(json.dumps({"at": round(time.monotonic() - start, 4), "text": text}), flush=True)


if __name__ == "__main__":
    main()
