"""The deployment page's snippets are well formed, and its words are the jobs' own."""

from __future__ import annotations

import ast
import json
import re
from fnmatch import fnmatch
from pathlib import Path

from jobs.deliver import exit_status

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_json_and_python_can_be_read() -> None:
    assert [list(json.loads(block)) for block in blocks("json")] == [["Version", "Statement"], ["name", "tasks"]]
    assert all(ast.parse(block) for block in blocks("python"))
    quoted = re.findall(r"'([\[{].*?[\]}])'", "\n".join(blocks("sh")), re.DOTALL)
    assert len(quoted) == 6 and all(json.loads(each) for each in quoted if not each.startswith("{."))


def test_what_is_said_to_be_said_is_what_is_said() -> None:
    said = {words.partition(":")[0].rstrip(" …") for words in re.findall(r"\| 2 \| `(.*?)`", PAGE)}
    said |= {words.strip("… ") for words in re.findall(r"`, `(… has another [^`]*)`", PAGE)}
    code = " ".join(cause.message.format("pyarrow") for cause in exit_status.CAUSES)
    for script in ("put_events.py", "cli/preflight.py", "cli/session.py"):
        code += (ROOT / "jobs" / script).read_text()
    assert len(said) == 9 and all(words in code for words in said), said


def test_the_scripts_are_what_the_pattern_takes_out_of_the_zip() -> None:
    (pattern,) = re.findall(r"unzip -j \S+ '(.*?)'", PAGE)
    scripts = {path.name for path in (ROOT / "jobs").glob("*.py") if "__main__" in path.read_text()}
    assert "jobs/draft_mapping.py`;" in PAGE
    taken = {path.name for path in (ROOT / "jobs").rglob("*.py") if fnmatch(f"jobs/{path.name}", pattern)}
    assert taken | {"draft_mapping.py"} == scripts


def test_links_lead_somewhere() -> None:
    headings = {title.lower().replace(" ", "-") for title in re.findall(r"^##+ (.*)$", PAGE, re.MULTILINE)}
    for page, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", PAGE):
        assert (ROOT / "docs" / page).exists() and (page or anchor in headings), (page, anchor)
