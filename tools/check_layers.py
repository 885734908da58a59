#!/usr/bin/env python3
"""Checks the rules that every header under include/towpath keeps. Prints `file:line: what; what to do`, exits 1 on any.

  tools/check_layers.py               check this repository
  tools/check_layers.py --root DIR    check another tree
  tools/check_layers.py --self-test   plant each violation in a small tree and see it reported

The rules: a header includes its own folder or an earlier one; the operating system and third-party headers stay where
the design puts them; macros live in two files; every atomic access names its memory order; headers and functions stay
short. See docs/architecture.md for the reasons.
"""
import argparse
import pathlib
import re
import sys
import tempfile

FOLDERS = ["core", "shm", "log", "serde", "topic", "produce", "group", "consume", "replay", "kafka", "cluster", "adapters"]
# The last folder each umbrella header may list.
UMBRELLAS = {"towpath.hpp": "replay", "kafka.hpp": "kafka", "cluster.hpp": "cluster"}
MACRO_FILES = {"core/config.hpp", "core/version.hpp"}
MAX_HEADER_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_COLUMNS = 120
ORDERS = r"\b(?:std::)?(?:memory_order(?:::|_)?\w*|relaxed|acquire|release|acq_rel|seq_cst|order|success|failure)\b"
NAMESPACE = re.compile(r"namespace towpath::inline TOWPATH_ABI(::\w+)* \{")


class Report:
    def __init__(self):
        self.lines = []

    def add(self, path, line, what, remedy):
        self.lines.append(f"{path}:{line}: {what}; {remedy}")


def blank(text):
    """The same text with every character but newlines replaced by a space."""
    return re.sub(r"[^\n]", " ", text)


TOKENS = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^()\s\\]{0,16})\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])*'",
    re.DOTALL)


def without_comments(text):
    """Comments become spaces, strings become empty strings; line numbers stay."""
    def replace(match):
        token = match.group(0)
        return '"' + blank(token)[2:] + '"' if token[0] in '"R' else blank(token)
    return TOKENS.sub(replace, text)


def without_directives(code):
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda match: blank(match.group(0)), code, flags=re.MULTILINE)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def allowed_system_include(name, folder, path):
    """None if the header may include <name>, else what to do instead."""
    if name == "fmt" or name.startswith("fmt/"):
        return None if path == "core/formatters.hpp" or folder == "adapters" else "include <towpath/core/formatters.hpp>"
    if name.startswith("boost/crc"):
        return None if path == "core/hash.hpp" else "use the functions of <towpath/core/hash.hpp>"
    if name.startswith("boost/interprocess"):
        return None if folder == "shm" else "map files through <towpath/shm/region.hpp>"
    if name.startswith("boost/lockfree"):
        return None
    if name.startswith("boost/asio"):
        return None if folder in ("kafka", "adapters") else "sockets belong to kafka/ and adapters/"
    if name.startswith("boost/"):
        return None if folder in ("kafka", "adapters") else "the design gives no place to this part of Boost"
    if name == "regex.h":
        return None if path == "core/pattern.hpp" else "match names with <towpath/core/pattern.hpp>"
    if name.endswith((".h", ".hpp")) or "/" in name:
        return None if folder in ("shm", "adapters") else "only shm/ touches the operating system: add what you need there"
    return None


def check_includes(report, shown, path, text, known):
    folder = path.split("/")[0] if "/" in path else ""
    for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">\n]*)[">]', text, re.MULTILINE):
        line, name = line_of(text, match.start()), match.group(2)
        if match.group(1) == '"':
            report.add(shown, line, f'"{name}" is included with quotes', "write the full path, <towpath/folder/name.hpp>")
            continue
        if not name.startswith("towpath/"):
            remedy = allowed_system_include(name, folder, path)
            if remedy:
                report.add(shown, line, f"<{name}> is not for {folder or 'an umbrella header'}", remedy)
            continue
        target = name[len("towpath/"):]
        if target not in known:
            report.add(shown, line, f"<{name}> does not exist", "correct the path")
            continue
        check_direction(report, shown, line, path, folder, target)


def check_direction(report, shown, line, path, folder, target):
    if "/" not in target:
        if folder:
            report.add(shown, line, f"a header includes the umbrella {target}", "include what is needed from it")
        return
    target_folder = target.split("/")[0]
    if target_folder not in FOLDERS:
        return
    last = folder or UMBRELLAS.get(path)
    if last in FOLDERS and FOLDERS.index(target_folder) > FOLDERS.index(last):
        report.add(shown, line, f"{path} includes the later folder {target_folder}/",
                   f"move what both need to {last}/ or before; the order is {' '.join(FOLDERS)}")


def check_cycles(report, root, texts):
    graph = {path: re.findall(r"^[ \t]*#[ \t]*include[ \t]*<towpath/([^>\n]*)>", text, re.MULTILINE)
             for path, text in texts.items()}
    done, trail = set(), []

    def visit(path):
        if path in trail:
            circle = " -> ".join(trail[trail.index(path):] + [path])
            report.add(f"{root}/{path}", 1, f"headers include each other: {circle}", "split off what both need")
            return
        if path in done or path not in graph:
            return
        trail.append(path)
        for target in graph[path]:
            visit(target)
        trail.pop()
        done.add(path)

    for path in sorted(graph):
        visit(path)


def check_macros(report, shown, path, code):
    for match in re.finditer(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", code, re.MULTILINE):
        line, name = line_of(code, match.start()), match.group(1)
        if not name.startswith("TOWPATH_"):
            report.add(shown, line, f"the macro {name} has no TOWPATH_ prefix", "rename it, or use a constant or a function")
        if path not in MACRO_FILES:
            report.add(shown, line, f"the macro {name} is defined outside core/config.hpp",
                       "move it there, or use a constant or a function")


def arguments_at(code, position):
    """The text between the parenthesis at position and its partner."""
    depth = 0
    for index in range(position, len(code)):
        if code[index] == "(":
            depth += 1
        elif code[index] == ")":
            depth -= 1
            if depth == 0:
                return code[position + 1:index]
    return code[position + 1:]


def check_orders(report, shown, code):
    calls = r"(?:\.|->)\s*(load|store|exchange|fetch_\w+|compare_exchange\w*|test_and_set)\s*\("
    for match in re.finditer(calls, code):
        found = len(re.findall(ORDERS, arguments_at(code, match.end() - 1)))
        wanted = 2 if match.group(1).startswith("compare_exchange") else 1
        if found < wanted:
            report.add(shown, line_of(code, match.start()),
                       f"{match.group(1)}() names {found} of {wanted} memory order{'s' if wanted > 1 else ''}",
                       "state each order, and in a comment which access it pairs with")
    for name in set(re.findall(r"\bstd::atomic(?:_ref)?\s*<[^;{}=()]*>\s+(\w+)", code)):
        operators = rf"(?:\+\+|--)\s*{name}\b|\b{name}\s*(?:\+\+|--|[-+|&^]?=(?!=))"
        for match in re.finditer(operators, code):
            report.add(shown, line_of(code, match.start()), f"an operator on the atomic {name} has the default memory order",
                       "call store(), load() or fetch_add() with an order")


def check_namespaces(report, shown, code):
    for match in re.finditer(r"^(?:inline )?namespace\b[^\n]*", code, re.MULTILINE):
        outermost = code.count("{", 0, match.start()) == code.count("}", 0, match.start())
        if outermost and not NAMESPACE.match(match.group(0)):
            report.add(shown, line_of(code, match.start()), f"'{match.group(0).strip()}' is outside the versioned namespace",
                       "open namespace towpath::inline TOWPATH_ABI { or a part of it, TOWPATH_ABI::name {")


def classify(head):
    """What the brace after this text opens: a scope to look into, a function, or a value to skip."""
    head = re.sub(r"\b(public|private|protected)\s*:(?!:)", " ", head)
    head = re.sub(r"\[\[[^\]]*\]\]", " ", head).strip()
    plain = re.sub(r"^(?:template\s*<.*?>\s*(?=class\b|struct\b|union\b|requires\b|template\b))+", "", head, flags=re.DOTALL)
    plain = re.sub(r"^requires\b.*?(?=\b(?:class|struct|union)\b)", "", plain, flags=re.DOTALL)
    if re.match(r'(inline\s+)?namespace\b|extern\s*""$', plain) or re.match(r"(typedef\s+)?(class|struct|union)\b", plain):
        return "scope"
    if plain.startswith("enum") or "(" not in plain:
        return "value"
    # A member initializer, `: first_{1}`, is told from the body by the name that stands before the brace.
    last_word = re.search(r"([\w>]+)$", plain)
    in_initializers = re.search(r"\)[^()]*[^:]:(?!:)", plain)
    if in_initializers and last_word and last_word.group(1) not in ("const", "noexcept", "override", "final", "try"):
        return "value"
    return "function"


def partner_of(code, position):
    """The position of the brace that closes the one at position, or None."""
    depth = 0
    for match in re.finditer(r"[{}]", code[position:]):
        depth += 1 if match.group(0) == "{" else -1
        if depth == 0:
            return position + match.start()
    return None


def functions_in(code):
    """Yields (first line, last line) of each function body with its signature; None where braces do not match."""
    position, start, parentheses, depth = 0, 0, 0, 0
    while position < len(code):
        char = code[position]
        if char in "()":
            parentheses = max(0, parentheses + (1 if char == "(" else -1))
        elif char == ";" and parentheses == 0:
            start = position + 1
        elif char == "}":
            depth -= 1
            start = position + 1
        elif char == "{":
            kind = "value" if parentheses else classify(code[start:position])
            if kind == "scope":
                depth += 1
                start = position + 1
            else:
                end = partner_of(code, position)
                if end is None:
                    yield None
                    return
                if kind == "function":
                    yield first_line(code, start, position), line_of(code, end)
                    start = end + 1
                position = end
        position += 1
    if depth != 0:
        yield None


def first_line(code, start, brace):
    head = re.match(r"(?:\s|\b(?:public|private|protected)\s*:(?!:))*", code[start:brace])
    return line_of(code, start + head.end())


def check_sizes(report, shown, text, code):
    count = text.count("\n") + (not text.endswith("\n"))
    if count > MAX_HEADER_LINES:
        report.add(shown, MAX_HEADER_LINES + 1, f"the header has {count} lines, more than {MAX_HEADER_LINES}",
                   "look for the second concept inside it and give it a header")
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_COLUMNS:
            report.add(shown, number, f"the line has {len(line)} columns, more than {MAX_COLUMNS}", "break it")
    for found in functions_in(without_directives(code)):
        if found is None:
            report.add(shown, 1, "the braces do not match", "mend them, or keep both branches of #if balanced")
        elif found[1] - found[0] + 1 > MAX_FUNCTION_LINES:
            report.add(shown, found[0], f"the function has {found[1] - found[0] + 1} lines, more than {MAX_FUNCTION_LINES}",
                       "look for the step inside it that has a name")


def check_tree(root):
    report = Report()
    base = root / "include" / "towpath"
    texts = {str(file.relative_to(base)): file.read_text(encoding="utf-8") for file in sorted(base.rglob("*.hpp"))}
    if not texts:
        report.add("include/towpath", 1, "no headers found", "run this in the repository, or give --root")
    for path, text in texts.items():
        shown = f"include/towpath/{path}"
        code = without_comments(text)
        folder = path.split("/")[0] if "/" in path else ""
        if folder not in FOLDERS and (folder or path not in UMBRELLAS):
            report.add(shown, 1, "the header lies in no known folder", f"the folders are {' '.join(FOLDERS)}")
        if not re.search(r"^#pragma once$", text, re.MULTILINE):
            report.add(shown, 1, "there is no #pragma once", "add it after the opening comment")
        check_includes(report, shown, path, text, texts)
        check_macros(report, shown, path, code)
        check_orders(report, shown, code)
        check_namespaces(report, shown, without_directives(code))
        check_sizes(report, shown, text, code)
    check_cycles(report, "include/towpath", texts)
    return report.lines


GOOD = """// A header that keeps every rule: `#include "../x.hpp"` in a comment is no include.
#pragma once

#include <atomic>

#include <towpath/core/config.hpp>

namespace towpath::inline TOWPATH_ABI::log {

namespace detail {
enum class Kind { a, b };
}  // namespace detail

inline constexpr int table[] = {1, 2, 3};
inline constexpr const char* text = "{ a string with a brace, // and a comment";
inline constexpr int big = 1'000'000;

template <class T>
  requires(sizeof(T) > 1)
class Thing {
 public:
  explicit Thing(int a, T b = {}) : a_{a}, b_(b), c_{} {
SHORT
  }
  int get() const noexcept { return word.load(std::memory_order_acquire); }
  bool swap(int& a) { return word.compare_exchange_strong(a, 1, std::memory_order_acq_rel, std::memory_order_relaxed); }

 private:
  std::atomic<int> word{0};
  int a_;
  T b_;
  struct alignas(64) { int x; } c_;
};

}  // namespace towpath::inline TOWPATH_ABI::log
"""


def body(lines):
    return "\n".join("    ++a;" for _ in range(lines))


def planted():
    """(name, path, change of the good header, what must be reported)"""
    def after(line, text):
        return lambda good: good.replace(line, line + "\n" + text, 1)

    inside = "namespace towpath::inline TOWPATH_ABI::log {\n"
    include = "#include <atomic>"
    return [
        ("later folder", "log/thing.hpp", after(include, "#include <towpath/topic/name.hpp>"), "later folder topic/"),
        ("relative include", "log/thing.hpp", after(include, '#include "../core/config.hpp"'), "with quotes"),
        ("missing header", "log/thing.hpp", after(include, "#include <towpath/core/gone.hpp>"), "does not exist"),
        ("umbrella", "log/thing.hpp", after(include, "#include <towpath/towpath.hpp>"), "the umbrella"),
        ("late folder in an umbrella", "towpath.hpp", after(include, "#include <towpath/kafka/server.hpp>"), "later folder kafka/"),
        ("operating system", "log/thing.hpp", after(include, "#include <sys/mman.h>"), "<sys/mman.h> is not for log"),
        ("unistd", "topic/thing.hpp", after(include, "#include <unistd.h>"), "<unistd.h> is not for topic"),
        ("regular expressions", "topic/thing.hpp", after(include, "#include <regex.h>"), "match names with <towpath/core/pattern.hpp>"),
        ("Boost.Interprocess", "log/thing.hpp", after(include, "#include <boost/interprocess/mapped_region.hpp>"), "is not for log"),
        ("Boost.CRC", "log/thing.hpp", after(include, "#include <boost/crc.hpp>"), "<boost/crc.hpp> is not for log"),
        ("other Boost", "log/thing.hpp", after(include, "#include <boost/optional.hpp>"), "is not for log"),
        ("Asio", "log/thing.hpp", after(include, "#include <boost/asio.hpp>"), "is not for log"),
        ("fmt", "log/thing.hpp", after(include, "#include <fmt/format.h>"), "<fmt/format.h> is not for log"),
        ("cycle", "log/thing.hpp", after(include, "#include <towpath/log/thing.hpp>"), "include each other"),
        ("no pragma", "log/thing.hpp", lambda good: good.replace("#pragma once\n", ""), "no #pragma once"),
        ("unknown folder", "misc/thing.hpp", lambda good: good, "no known folder"),
        ("macro place", "log/thing.hpp", after(include, "#define TOWPATH_X 1"), "outside core/config.hpp"),
        ("macro name", "core/version.hpp", after(include, "#define OTHER_X 1"), "no TOWPATH_ prefix"),
        ("load without order", "log/thing.hpp", after(inside, "inline int f(std::atomic<int>& a) { return a.load(); }"), "load() names 0 of 1"),
        ("store without order", "log/thing.hpp", after(inside, "inline void f(std::atomic<int>* a) { a->store(g(1, 2)); }"), "store() names 0 of 1"),
        ("one order of two", "log/thing.hpp", after(inside, "inline void f(A& a) { a.compare_exchange_strong(x, 1,\n std::memory_order_relaxed); }"), "names 1 of 2"),
        ("atomic operator", "log/thing.hpp", after(inside, "inline std::atomic<int> count{0};\ninline void f() { ++count; }"), "operator on the atomic count"),
        ("namespace", "log/thing.hpp", after(inside, "}\nnamespace towpath::log {"), "outside the versioned namespace"),
        ("long header", "log/thing.hpp", after(include, "\n" * 400), "lines, more than 400"),
        ("long line", "log/thing.hpp", after(include, "// " + "x" * 118), "121 columns"),
        ("long constructor", "log/thing.hpp", lambda good: good.replace("SHORT", body(39)), "the function has 41 lines"),
        ("long function", "log/thing.hpp", after(inside, "inline int f(int a) {\n" + body(39) + "\n}"), "the function has 41 lines"),
        ("long template", "log/thing.hpp", after(inside, "template <class T>\nauto f(T a)\n  -> int {\n" + body(37) + "\n}"), "the function has 41 lines"),
        ("long last method", "log/thing.hpp", after(" public:", "  int f() const noexcept {\n" + body(39) + "\n  }"), "the function has 41 lines"),
        ("open brace", "log/thing.hpp", after(inside, "inline int f() {"), "braces do not match"),
    ]


def write_tree(root, extra):
    files = {"core/config.hpp": "#pragma once\n#define TOWPATH_ABI v0\n", "core/version.hpp": "#pragma once\n",
             "topic/name.hpp": "#pragma once\n", "kafka/server.hpp": "#pragma once\n", "towpath.hpp": "#pragma once\n",
             "log/good.hpp": GOOD.replace("SHORT", body(38)), **extra}
    for path, text in files.items():
        file = root / "include" / "towpath" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def self_test():
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "good"
        write_tree(root, {})
        wrong += [f"reported in a tree without faults: {line}" for line in check_tree(root)]
        for number, (name, path, change, expected) in enumerate(planted()):
            root = pathlib.Path(folder) / str(number)
            write_tree(root, {path: change(GOOD).replace("SHORT", body(3))})
            found = [line for line in check_tree(root) if line.startswith(f"include/towpath/{path}:")]
            if not any(expected in line for line in found):
                wrong.append(f"planted and not reported: {name}; reported were {found}")
            if len(found) > 1:
                wrong.append(f"planted one fault ({name}) and several were reported: {found}")
    for line in wrong:
        print(line)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        return 1 if self_test() else 0
    lines = check_tree(options.root)
    for line in lines:
        print(line)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
