"""The commands of docs/operations.md, so that what is carried out is what stands there."""
import re

from service import ROOT


def blocks(heading):
    """The indented blocks of a section, without their indentation."""
    text = (ROOT / "docs" / "operations.md").read_text()
    section = re.search(r"^### %s\n(.*?)^##" % re.escape(heading), text, re.MULTILINE | re.DOTALL)[1]
    found = re.findall(r"^(?: {4}\S.*\n(?:(?: {4}.*)?\n)*)+", section, re.MULTILINE)
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE).strip() + "\n" for block in found]
