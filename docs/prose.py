"""Refuse four habits of grammar in the project's prose: ``python docs/prose.py`` prints ``file:line: words: what to write``.

The habits: a count with "a" where English says "per"; "in the place of" for "instead of"; "is no part" for "is not a part"; a clause
with "what" or "who" as the subject of a sentence. The checker reads docstrings, comments and other strings of Python files, and the
whole text of Markdown, YAML, reStructuredText, Snakemake and make files. Correct English must pass, so it misses some sentences.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
READ = ("*.py", "*.md", "*.yaml", "*.rst", "*.smk", "Snakefile", "Makefile")
QUOTE_THE_HABITS = ("docs/prose.py", "tests/test_prose.py")

COUNT = "[Oo]ne|[Tt]wo|three|four|five|six|eight|ten|several|[0-9](?:[0-9,.]*[0-9])?"
MEASURE = (
    "[Oo]nce|[Tt]wice|bytes|seconds|minutes|hours|[KMG]i?B|GPU|rows|columns|lines|images|pixels|values|numbers|steps|iterations|rounds|restarts"
    "|ours|weights|inches|victims|cells|calls|batches|epochs|files|points|samples|labels|classes|models|processes|threads"
)
# Between a count and "a", these words make another sentence: "two images share a network", "two rounds of a client".
LINK = (
    r"(?:after|and|are|as|at|before|beside|between|but|by|costs|for|from|get|gets|gives|had|has|have|hold|holds|if|in|instead|into|is"
    r"|keep|keeps|like|make|makes|maps|of|on|only|or|over|per|reads|see|sees|share|shares|take|takes|than|that|to|under|use|uses|was"
    r"|were|when|whose|with|without)\b"
)
PER = (
    "arm|axis|batch|block|budget|call|cell|channel|checkpoint|class|client|cluster|column|comparison|coordinate|core|counter|data set|defense|element"
    "|epoch|figure|file|folder|group|idea|image|inch|item|iteration|job|key|kind|label|layer|level|line|machine|method|metric"
    "|model|module|network|page|panel|phase|picture|pixel|place|point|prior|process|protocol|restart|role|round|row|sample|scope|seed|set"
    "|setting|shard|side|space|stage|step|study|table|task|tensor|test|threat model|update|value|verb|victim|word"
)
# "images a client holds" goes on, "images a client" ends here.
ENDS = (
    r"(?=\s*(?:[^\w\s'-]|$)|\s+(?:and|are|at|for|in|is|on|or|over|than|to|when|where|while|with)\b)"
)
VERB = "are|can|cannot|did|do|does|had|has|have|is|may|must|was|were"
MAIN_VERB = rf"{VERB}|agrees|comes|counts|depends|goes|holds|lies|makes|says|serves|stands|stays|tells|waits"
CLAUSE = r"(?:and|but|how|if|or|that|when|where|which|who)\b"

HABITS = {
    'write "per"': (
        rf"\b(?![Oo]ne (?:[\w-]+ )?[\w-]+(?<!s)s an? )(?:(?:{COUNT}) (?:(?!{LINK})[\w-]+ ){{1,2}}|(?:{MEASURE}) )an? (?:(?!{LINK})[\w-]+ )?(?:{PER}){ENDS}"
    ),
    'write "instead of"': r"\b[Ii]n the place of\b",
    # "There is no", "GIFD-e is no ball" and "no defense" are right.
    'write "is not a"': (
        r"(?<![Tt]here )\b(?:is|are|was|were) no (?!longer|more|less|better|worse|way|ball\b|defense\b)[\w'-]+"
    ),
    "begin with the actor": (
        r"(?:^|(?<=[.!?;] ))Wh(?:o|at|ich)ever\b[^,.:;?]*[.:;]"
        r"|(?<=[.!?;] )(?:What|Who|Which) (?:[^.?]|\.(?! ))*(?:\.|$)"
        rf"|^(?:What|Who|Which) (?:{MAIN_VERB}|came|happens|ran|runs) (?:(?!{CLAUSE})[\w'`.-]+ )*?(?:{MAIN_VERB}) \w+"
    ),
}


def habits(text: str) -> Iterator[tuple[str, str]]:
    """Yield (words, what to write) for every habit in one paragraph.

    >>> list(habits("Draw one row a setting."))
    [('one row a setting', 'write "per"')]
    """
    paragraph = " ".join(text.split())
    for remedy, pattern in HABITS.items():
        yield from ((match[0], remedy) for match in re.finditer(pattern, paragraph))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) for the comments and strings of a Python file, and for any other file as one text."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from comments(source)
        yield from strings(ast.parse(source))
    else:
        yield 1, re.sub(r"(?m)^[ \t]*#+ ?", "", source)


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) for every comment; comments on successive lines are one text."""
    block: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if block and token.start[0] != last + 1:
                yield last - len(block) + 1, " ".join(block)
                block = []
            block.append(token.string.lstrip("# "))
            last = token.start[0]
    yield last - len(block) + 1, " ".join(block)


def strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, text) for every string below a node; a value within an f-string reads X."""
    if isinstance(node, ast.JoinedStr):
        parts = [str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values]
        yield node.lineno, "".join(parts)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.lineno, node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from strings(child)


def check(path: Path) -> Iterator[str]:
    """Yield one message per habit in a file; a list item and a table cell are paragraphs of their own."""
    for line, text in texts(path):
        for paragraph in re.finditer(r"(?s)[^\s|*-](?:(?!\n\s*\n|\n\s*[-*] |\|).)*", text):
            for words, remedy in habits(paragraph[0]):
                yield f"{path}:{line + text.count(chr(10), 0, paragraph.start())}: {words}: {remedy}"


def main() -> int:
    """Print the habits in the files that git lists; return 1 if there are any."""
    listed = subprocess.run(
        ["git", "ls-files", *READ], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [ROOT / name for name in listed.stdout.splitlines() if name not in QUOTE_THE_HABITS]
    messages = [message for path in paths if path.is_file() for message in check(path)]
    print("".join(f"{message}\n" for message in messages), end="")
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main())
