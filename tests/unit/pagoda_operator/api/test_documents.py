"""What conditions point at exists: each reason has its section in troubleshooting, and no other word has one."""

import re
from pathlib import Path

from pagoda_operator.api.documents import DOCS_URL, build_reason_url
from pagoda_operator.api.reasons import Reason

DOCS = Path(__file__).parents[4] / "docs"


def test_every_reason_has_a_section_that_its_address_leads_to() -> None:
    sections = re.findall(r"^### (\w+)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(reason.value for reason in Reason)
    assert {build_reason_url(reason) for reason in Reason} == {
        f"{DOCS_URL}/troubleshooting.md#{section.lower()}" for section in sections
    }
