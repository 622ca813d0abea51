"""All notations, in the order in which they are looked for."""

from pagoda_server.dialog.formats.glm import GLM
from pagoda_server.dialog.formats.hermes import HERMES
from pagoda_server.dialog.formats.qwen_xml import QWEN_XML

TOOL_FORMATS = (GLM, QWEN_XML, HERMES)
