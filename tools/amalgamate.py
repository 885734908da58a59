#!/usr/bin/env python3
"""Assembles include/towpath/towpath.hpp and all it includes into single_include/towpath/towpath.hpp.

  tools/amalgamate.py           write the file
  tools/amalgamate.py --check   exit 1 if the committed file differs from what would be written
  tools/amalgamate.py --self-test

Each towpath header stands once, after those it includes. Other includes are gathered at the top, once, sorted; those
inside #if stay where they are. Only rooted includes, <towpath/folder/name.hpp>, are understood; anything else that
could reach one file by two names is refused. The same source gives the same bytes.
Each header of include/towpath/adapters/ stands beside it as it is, but that it includes the single header.
"""
import argparse
import pathlib
import re
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENTRY = "towpath/towpath.hpp"
OUTPUT = "single_include/towpath/towpath.hpp"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include\b[ \t]*(?P<what>[^\n]*?)[ \t]*(?://[^\n]*)?$')
DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*(?P<word>\w+)")


class Refused(Exception):
    """The source breaks a rule that this tool relies on."""


class Amalgamation:
    def __init__(self, root):
        self.root = root
        self.placed = []
        self.trail = []
        self.system = set()
        self.parts = []

    def place(self, name):
        if name in self.trail:
            raise Refused(f"headers include each other: {' -> '.join(self.trail + [name])}; split off what both need")
        if name in self.placed:
            return
        path = self.root / "include" / name
        if not path.is_file():
            raise Refused(f"<{name}> does not exist; correct the include in {self.trail[-1] if self.trail else 'the list'}")
        self.trail.append(name)
        kept = self.read(name, path.read_text(encoding="utf-8"))
        self.trail.pop()
        self.placed.append(name)
        if name != ENTRY:
            self.parts.append(f"// ---- {name} ----\n\n" + tidy(kept))

    def read(self, name, text):
        """Places what the header includes and returns its other lines."""
        if not re.search(r"^#pragma once$", text, re.MULTILINE):
            raise Refused(f"include/{name} has no #pragma once; add it")
        kept, conditions, in_comment = [], 0, False
        for number, line in enumerate(text.splitlines(), 1):
            was_comment, in_comment = in_comment, ends_in_comment(line, in_comment)
            directive = None if was_comment else DIRECTIVE.match(line)
            if directive:
                word = directive.group("word")
                conditions += word in ("if", "ifdef", "ifndef")
                conditions -= word == "endif"
                if word == "include":
                    if self.take_include(f"include/{name}:{number}", line, conditions):
                        kept.append(line)
                    continue
                if line == "#pragma once":
                    continue
            kept.append(line)
        return kept

    def take_include(self, where, line, conditions):
        """True if the line stays where it is."""
        what = INCLUDE.match(line).group("what")
        rooted = re.fullmatch(r"<([^<>]+)>", what)
        if not rooted:
            raise Refused(f"{where}: #include {what} is not understood; write <towpath/folder/name.hpp>")
        name = rooted.group(1)
        if ".." in name.split("/") or "." in name.split("/") or "//" in name:
            raise Refused(f"{where}: <{name}> is not the only spelling of this file; write <towpath/folder/name.hpp>")
        if not name.startswith("towpath/"):
            if conditions == 0:
                self.system.add(name)
            return conditions > 0
        if conditions > 0:
            raise Refused(f"{where}: a towpath header is included inside #if; include it always, or put #if into it")
        self.place(name)
        return False


def ends_in_comment(line, inside):
    """Whether a /* */ comment is open after this line."""
    line = re.sub(r'"(?:\\.|[^"\\])*"', '""', line) if not inside else line
    position = 0
    while True:
        if inside:
            end = line.find("*/", position)
            if end < 0:
                return True
            inside, position = False, end + 2
        else:
            block, rest = line.find("/*", position), line.find("//", position)
            if block < 0 or 0 <= rest < block:
                return False
            inside, position = True, block + 2


def tidy(lines):
    """One newline at the end, no blank lines at either end, never two blank lines in a row."""
    text = "\n".join(line.rstrip() for line in lines).strip("\n")
    return re.sub(r"\n{3,}", "\n\n", text) + "\n"


def version_of(root):
    text = (root / "include/towpath/core/version.hpp").read_text(encoding="utf-8")
    numbers = [re.search(rf"#define TOWPATH_VERSION_{part} (\d+)", text) for part in ("MAJOR", "MINOR", "PATCH")]
    if not all(numbers):
        raise Refused("include/towpath/core/version.hpp does not define the three TOWPATH_VERSION_ numbers")
    return ".".join(number.group(1) for number in numbers)


def assemble(root):
    """The single header's text."""
    return outputs(root)[OUTPUT]


def outputs(root):
    """All files that this tool makes, as path -> text."""
    amalgamation = Amalgamation(root)
    amalgamation.place(ENTRY)
    made = {OUTPUT: join(root, amalgamation)}
    for header in sorted((root / "include/towpath/adapters").glob("*.hpp")):
        made[f"single_include/towpath/adapters/{header.name}"] = adapter(header, amalgamation.placed)
    return made


def adapter(header, placed):
    """The adapter with one include in place of those of headers that the single header holds."""
    lines, included = [], False
    for line in header.read_text(encoding="utf-8").splitlines():
        towpath = re.fullmatch(r"#include <(towpath/(?!adapters/)[^<>]+)>.*", line)
        if towpath and towpath.group(1) not in placed:
            raise Refused(f"{header.name} includes <{towpath.group(1)}>, which the single header does not hold; "
                          f"let {ENTRY} include it")
        if towpath and included:
            continue
        included = included or bool(towpath)
        lines.append(f"#include <{ENTRY}>" if towpath else line)
    return "\n".join(lines) + "\n"


def join(root, amalgamation):
    opening = re.match(r"(?://[^\n]*\n)*", (root / "include" / ENTRY).read_text(encoding="utf-8")).group(0)
    licence = (root / "LICENSE").read_text(encoding="utf-8").strip("\n").split("\n")
    banner = [f"// towpath {version_of(root)}, all of <{ENTRY}> in one file.",
              "// Assembled by tools/amalgamate.py from include/: change it there, then run that.", "//"]
    banner += [f"// {line}".rstrip() for line in licence]
    includes = [f"#include <{name}>" for name in sorted(amalgamation.system)]
    parts = ["\n".join(banner) + "\n", opening + "#pragma once\n", "\n".join(includes) + "\n", *amalgamation.parts]
    return "\n".join(parts)


def check(root):
    wrong = 0
    for path, text in outputs(root).items():
        committed = root / path
        if not committed.is_file():
            print(f"{path} is missing; run tools/amalgamate.py and commit the result")
            wrong = 1
        elif committed.read_text(encoding="utf-8") != text:
            print(f"{path} is not what include/ gives; run tools/amalgamate.py and commit the result")
            wrong = 1
    return wrong


def write_tree(root, files):
    defaults = {
        "LICENSE": "A licence\n",
        "include/towpath/core/version.hpp": "// The version.\n#pragma once\n#define TOWPATH_VERSION_MAJOR 1\n"
                                            "#define TOWPATH_VERSION_MINOR 2\n#define TOWPATH_VERSION_PATCH 3\n",
        "include/towpath/core/a.hpp": "// A.\n#pragma once\n\n#include <vector>\n#include <array>\n#if X\n#include <map>\n#endif\n\n"
                                      "#include <towpath/core/version.hpp>\n\nint a;\n/* in a comment\n#include <list>\n*/\n",
        "include/towpath/log/b.hpp": "// B.\n#pragma once\n#include <array>  // for b\n#include <towpath/core/a.hpp>\nint b;\n",
        "include/towpath/towpath.hpp": "// All.\n#pragma once\n#include <towpath/log/b.hpp>\n#include <towpath/core/a.hpp>\n",
    }
    for path, text in {**defaults, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


EXPECTED = """// towpath 1.2.3, all of <towpath/towpath.hpp> in one file.
// Assembled by tools/amalgamate.py from include/: change it there, then run that.
//
// A licence

// All.
#pragma once

#include <array>
#include <vector>

// ---- towpath/core/version.hpp ----

// The version.
#define TOWPATH_VERSION_MAJOR 1
#define TOWPATH_VERSION_MINOR 2
#define TOWPATH_VERSION_PATCH 3

// ---- towpath/core/a.hpp ----

// A.

#if X
#include <map>
#endif

int a;
/* in a comment
#include <list>
*/

// ---- towpath/log/b.hpp ----

// B.
int b;
"""

ADAPTER = ("// C.\n#pragma once\n#include <zlib.h>\n\n#include <towpath/core/a.hpp>\n#include <towpath/log/b.hpp>\n"
           "#include <towpath/adapters/d.hpp>\nint c;\n")
EXPECTED_ADAPTER = ("// C.\n#pragma once\n#include <zlib.h>\n\n#include <towpath/towpath.hpp>\n"
                    "#include <towpath/adapters/d.hpp>\nint c;\n")

REFUSED = [
    ("#include <towpath/log/../core/a.hpp>", "is not the only spelling"),
    ('#include "a.hpp"', "is not understood"),
    ("#include TOWPATH_HEADER", "is not understood"),
    ("#include <towpath/core/gone.hpp>", "does not exist"),
    ("#include <towpath/log/b.hpp>", "include each other"),
    ("#if X\n#include <towpath/core/a.hpp>\n#endif", "inside #if"),
]


def self_test():
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "good"
        write_tree(root, {})
        if assemble(root) != EXPECTED:
            wrong.append(f"not as expected:\n{assemble(root)}")
        write_tree(root, {OUTPUT: EXPECTED + "\n"})
        if EXPECTED + "\n" == assemble(root):
            wrong.append("an added byte is not seen")
        write_tree(root, {"include/towpath/adapters/c.hpp": ADAPTER})
        if outputs(root).get("single_include/towpath/adapters/c.hpp") != EXPECTED_ADAPTER:
            wrong.append(f"an adapter is not as expected:\n{outputs(root)}")
        write_tree(root, {"include/towpath/adapters/c.hpp": "#include <towpath/log/gone.hpp>\n"})
        try:
            wrong.append(f"an adapter that includes what is not there:\n{outputs(root)}")
        except Refused:
            pass
        for number, (line, expected) in enumerate(REFUSED):
            root = pathlib.Path(folder) / str(number)
            write_tree(root, {"include/towpath/log/b.hpp": f"#pragma once\n{line}\n"})
            try:
                wrong.append(f"not refused: {line}:\n{assemble(root)}")
            except Refused as refused:
                if expected not in str(refused):
                    wrong.append(f"refused {line}, but for another reason: {refused}")
    for line in wrong:
        print(line)
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT)
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    try:
        if options.check:
            return check(options.root)
        made = outputs(options.root)
    except Refused as refused:
        print(refused)
        return 1
    for path, text in made.items():
        (options.root / path).parent.mkdir(parents=True, exist_ok=True)
        (options.root / path).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
