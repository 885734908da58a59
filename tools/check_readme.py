#!/usr/bin/env python3
"""Checks that README.md shows only code that is compiled and output that was printed.

  tools/check_readme.py               exit 1 with `README.md:line: what; what to do` if anything differs
  tools/check_readme.py --fix         put the examples' text and the outputs into README.md
  tools/check_readme.py --self-test

Every ```cpp block stands under a comment that names its source:
  <!-- example: examples/hello.cpp#send -->     the lines between `// [send]` and `// [/send]` there, dedented
  <!-- example: examples/hello.cpp -->          the whole file
A block under <!-- output: FILE --> equals that file.
"""
import argparse
import pathlib
import re
import sys
import tempfile
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
MARKER = re.compile(r"^<!-- (?P<kind>example|output): (?P<file>[^\s#]+)(?:#(?P<marker>[\w.-]+))? -->$")
FENCE = re.compile(r"^(?P<fence>```+)(?P<language>\w*)[^`]*$")


class Wrong(Exception):
    """A source that cannot be read as asked."""


def source_of(root, match):
    """The lines that the block under this marker must have."""
    path = root / match.group("file")
    if not path.is_file():
        raise Wrong(f"{match.group('file')} does not exist; correct the marker")
    text = path.read_text(encoding="utf-8")
    name = match.group("marker")
    if not name:
        return text.rstrip("\n").split("\n")
    found = re.findall(rf"^[ \t]*// \[{re.escape(name)}\][ \t]*\n(.*?)^[ \t]*// \[/{re.escape(name)}\][ \t]*$", text,
                       re.MULTILINE | re.DOTALL)
    if len(found) != 1:
        raise Wrong(f"{match.group('file')} has {len(found)} parts between // [{name}] and // [/{name}]; there must be one")
    inner = re.sub(r"^[ \t]*// \[/?[\w.-]+\][ \t]*\n", "", found[0], flags=re.MULTILINE)
    return textwrap.dedent(inner).strip("\n").split("\n")


def process(root, text):
    """(faults, corrected text)"""
    lines, faults, out = text.split("\n"), [], []
    marker, marker_line, position = None, 0, 0
    while position < len(lines):
        line = lines[position]
        fence = FENCE.match(line)
        if not fence:
            out.append(line)
            if MARKER.match(line):
                marker, marker_line = MARKER.match(line), position + 1
            elif line.strip() and marker:
                faults.append(f"README.md:{marker_line}: no code block follows the marker; put one there or remove it")
                marker = None
            position += 1
            continue
        end = next((n for n in range(position + 1, len(lines)) if lines[n].rstrip() == fence.group("fence")), None)
        if end is None:
            faults.append(f"README.md:{position + 1}: the block is never closed; close it")
            return faults, text
        block, wanted = lines[position + 1:end], lines[position + 1:end]
        try:
            wanted = source_of(root, marker) if marker else block
        except Wrong as wrong:
            faults.append(f"README.md:{marker_line}: {wrong}")
        if not marker and fence.group("language") in ("cpp", "c++", "cc"):
            faults.append(f"README.md:{position + 1}: no marker says where this code is compiled; "
                          "move it to examples/ and name it by <!-- example: examples/NAME.cpp#part -->")
        if block != wanted:
            faults.append(f"README.md:{position + 1}: the block differs from {marker.group('file')}; "
                          "run tools/check_readme.py --fix")
        out += [line, *wanted, lines[end]]
        marker, position = None, end + 1
    if marker:
        faults.append(f"README.md:{marker_line}: no code block follows the marker; put one there or remove it")
    return faults, "\n".join(out)


def self_test():
    example = "int x;\nint main() {\n  // [send]\n  send();\n    // [inner]\n    deep();\n    // [/inner]\n  // [/send]\n}\n"
    shown = "text\n<!-- example: e.cpp#send -->\n```cpp\nsend();\n  deep();\n```\n<!-- output: o.txt -->\n\n```\n42\n```\n```sh\nls\n```\n"
    cases = [
        (shown, None),
        (shown.replace("deep", "other"), "differs from e.cpp"),
        (shown.replace("42", "43"), "differs from o.txt"),
        (shown.replace("<!-- example: e.cpp#send -->", ""), "no marker says"),
        (shown.replace("#send", "#gone"), "has 0 parts"),
        (shown.replace("e.cpp", "gone.cpp"), "does not exist"),
        (shown.replace("```sh", "<!-- output: o.txt -->\nwords\n```sh"), "no code block follows"),
        (shown + "```\n", "never closed"),
    ]
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "e.cpp").write_text(example, encoding="utf-8")
        (root / "o.txt").write_text("42\n", encoding="utf-8")
        for text, expected in cases:
            faults, _ = process(root, text)
            if len(faults) != (expected is not None) or (expected and expected not in faults[0]):
                wrong.append(f"expected {expected}, got {faults}")
        if process(root, shown.replace("deep", "other").replace("42", "43"))[1] != shown:
            wrong.append("--fix does not restore the text")
    for line in wrong:
        print(line)
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fix", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT)
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    readme = options.root / "README.md"
    if not readme.is_file():
        print("README.md:1: the file is missing; write it")
        return 1
    text = readme.read_text(encoding="utf-8")
    faults, corrected = process(options.root, text)
    if options.fix and corrected != text:
        readme.write_text(corrected, encoding="utf-8")
        faults, _ = process(options.root, corrected)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
