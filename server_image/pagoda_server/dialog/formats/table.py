"""All notations of calls, in the order in which they are looked for; harmony, all of an answer, goes first."""

from pagoda_server.dialog.formats.deepseek import DEEPSEEK_V3, DEEPSEEK_V31
from pagoda_server.dialog.formats.gemma import FUNCTION_GEMMA, GEMMA
from pagoda_server.dialog.formats.generic import GENERIC
from pagoda_server.dialog.formats.glm import GLM
from pagoda_server.dialog.formats.hermes import HERMES
from pagoda_server.dialog.formats.invoke import DEEPSEEK_V32, MINIMAX
from pagoda_server.dialog.formats.kimi import KIMI
from pagoda_server.dialog.formats.llama_json import LLAMA_JSON
from pagoda_server.dialog.formats.mistral import MISTRAL
from pagoda_server.dialog.formats.nemotron import NEMOTRON
from pagoda_server.dialog.formats.pythonic import PYTHONIC
from pagoda_server.dialog.formats.qwen_xml import QWEN_XML, SEED

TOOL_FORMATS = (
    GEMMA,
    FUNCTION_GEMMA,
    DEEPSEEK_V3,
    DEEPSEEK_V31,
    DEEPSEEK_V32,
    MINIMAX,
    KIMI,
    GLM,
    SEED,
    QWEN_XML,
    NEMOTRON,
    MISTRAL,
    HERMES,
    PYTHONIC,
    LLAMA_JSON,
    GENERIC,
)
