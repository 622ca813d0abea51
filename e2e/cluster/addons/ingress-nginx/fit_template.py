#!/usr/bin/env python3
"""fit_template.py NGINX.TMPL: takes out of the controller's template, in place, what Debian's nginx 1.22 cannot do.

That is Lua in the stream block, and `http2 on;`.
"""

import sys
from pathlib import Path

STREAM = '\nstream { server { listen 127.0.0.1:10247; return ""; } }\n'


def end_of_block(text: str, start: int) -> int:
    """Returns the index after the brace that closes the first block after `start`."""
    index = text.index("{", start)
    depth = 1
    while depth:
        index += 1
        depth += (text[index] == "{") - (text[index] == "}")
    return index + 1


def fit(template: str) -> str:
    template = template.replace("http2 on;", "")
    start = template.index("\nstream {")
    return template[:start] + STREAM + template[end_of_block(template, start) :]


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(fit(path.read_text()))
