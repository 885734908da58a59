"""The command as a whole: help, version, where the bus is, and buses that cannot be opened."""
import os
import re
import shutil
import subprocess

import support

VERBS = [["produce"], ["consume"], ["topic"], ["topic", "create"], ["topic", "list"], ["topic", "describe"],
         ["topic", "alter"], ["topic", "delete"], ["stat"], ["hz"]]
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


class Help(support.BusTest):
    def test_every_verb_has_help_that_explains_every_option(self):
        for verb in [[]] + VERBS:
            for flag in ("-h", "--help"):
                done = self.ok(*verb, flag)
                self.assertEqual("", done.err)
                text = done.out.decode()
                self.assertIn(" ".join(["Usage: towpath", *verb]), text)
                self.assertIn("--dir", text)
                self.assertLessEqual(max(len(line) for line in text.splitlines()), 120, verb)
                for option in re.findall(r"(?m)^  (-\S+)(.*\n.*)", text):
                    self.assertRegex(option[1], r"\w{3,}", option)

    def test_the_documentation_knows_every_verb_and_option(self):
        with open(os.path.join(SOURCE, "docs", "cli.md"), encoding="utf-8") as file:
            page = file.read()
        for verb in [[]] + VERBS:
            self.assertIn(" ".join(["towpath", *verb]), page)
            for option in re.findall(r"(?m)^  \S*(--[a-z-]+)", self.ok(*verb, "--help").out.decode()):
                self.assertIn(option, page)

    def test_the_examples_of_the_help_are_commands(self):
        for verb in [[]] + VERBS:
            for line in self.ok(*verb, "--help").out.decode().splitlines():
                example = re.match(r"  (?:.*\| )?towpath (.*?)(?:  |$| <| \|)", line)
                if example and "--help" not in line:
                    words = re.findall(r"'([^']*)'|(\S+)", example.group(1))
                    words = ["".join(word) for word in words]
                    self.assertNotIn("Try 'towpath", self.run_command(*words, "--help").err, line)

    def test_the_version_names_library_format_and_codecs(self):
        with open(os.path.join(SOURCE, "include/towpath/core/version.hpp"), encoding="utf-8") as file:
            version = re.search(r'VERSION_STRING "(.*)"', file.read()).group(1)
        for flag in ("-V", "--version"):
            self.assertEqual(self.ok(flag).out, self.ok(flag, "topic", "list").out)
            self.assertRegex(self.ok(flag).out.decode(), rf"^towpath {re.escape(version)} \(segment format \d+; .*\)\n$")

    def test_what_is_no_command_is_a_usage_error_with_a_hint(self):
        self.refused(2, "a verb is missing: produce, consume, topic, stat, hz")
        self.refused(2, "there is no verb 'prodcue'; did you mean 'produce'?", "prodcue", "t")
        self.refused(2, "there is no verb 'lst'; did you mean 'list'?\nTry 'towpath topic --help'.", "topic", "lst")
        self.refused(2, "there is no verb 'grow'; there are create, list", "topic", "grow", "--help")
        self.refused(2, "Try 'towpath consume --help'.", "consume")
        self.refused(2, "--watch", "stat", "-i", "1s")
        self.refused(2, "--wrong", "stat", "--wrong")
        for count in ("0", "-1", "x", "1.5", "99999999999999999999"):
            self.refused(2, "--count", "consume", "t", "-n", count)
        self.refused(2, "--format", "stat", "--format", "xml")
        self.refused(2, "--dir", "stat", "--dir", "")


class WhereTheBusIs(support.BusTest):
    def test_the_option_comes_before_the_variable_and_before_the_usual_places(self):
        places = {name: os.path.join(self.folder, name) for name in ("option", "variable", "runtime")}
        os.mkdir(places["runtime"])
        environment = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": places["runtime"]}
        self.ok("topic", "create", "in_runtime", env=environment)
        environment["TOWPATH_DIR"] = places["variable"]
        self.ok("topic", "create", "in_variable", env=environment)
        self.ok("--dir", places["option"], "topic", "create", "in_option", env=environment)
        self.ok("topic", "create", "behind", "-d", places["option"], env=environment)
        places["runtime"] = os.path.join(places["runtime"], "towpath")
        found = {name: self.ok("topic", "list", "-d", path).lines for name, path in places.items()}
        self.assertEqual({"option": ["behind", "in_option"], "variable": ["in_variable"], "runtime": ["in_runtime"]}, found)

    def test_without_any_it_is_in_memory_and_the_users_own(self):
        done = self.run_command("topic", "describe", "no-such-topic-of-any-test", env={"PATH": os.environ["PATH"]})
        self.assertEqual(3, done.code)
        self.assertIn(f"/dev/shm/towpath-{os.getuid()}", done.err)


class NotABus(support.BusTest):
    def test_a_file_is_no_bus(self):
        path = os.path.join(self.folder, "file")
        with open(path, "w", encoding="ascii") as file:
            file.write("hello")
        self.use(path)
        self.refused(1, "not_a_directory", "produce", "t", data="x\n")
        self.refused(1, "not_a_directory", "consume", "t")

    def test_a_folder_with_other_files_becomes_no_bus(self):
        path = os.path.join(self.folder, "home")
        os.mkdir(path)
        with open(os.path.join(path, "letter"), "w", encoding="ascii") as file:
            file.write("hello")
        self.use(path)
        self.refused(1, "holds other files and is no bus", "produce", "t", data="x\n")
        self.refused(1, "holds other files and is no bus", "topic", "create", "t")
        self.refused(3, "there is no bus in", "consume", "t")
        self.assertEqual(["letter"], os.listdir(path))

    def test_a_folder_above_that_is_missing_is_not_found(self):
        self.use(os.path.join(self.folder, "missing", "bus"))
        self.refused(3, "not_found", "produce", "t", data="x\n")

    def test_a_bus_whose_ctl_is_something_else_is_corrupt(self):
        os.mkdir(self.bus)
        with open(os.path.join(self.bus, "ctl"), "wb") as file:
            file.write(os.urandom(200_000))
        for verb in (["produce", "t"], ["consume", "t"], ["stat"], ["topic", "list"]):
            self.refused(1, "corrupt", *verb, data="x\n")

    def test_a_bus_that_anybody_may_write_is_refused(self):
        self.ok("topic", "create", "t")
        os.chmod(self.bus, 0o777)
        self.refused(1, "unsafe_directory", "consume", "t")

    def test_a_bus_that_one_may_not_enter_is_refused(self):
        self.ok("topic", "create", "t")
        os.chmod(self.bus, 0)
        options = {}
        if os.geteuid() == 0:  # whom nothing is forbidden
            options = {"user": 65534, "group": 65534, "extra_groups": []}
            try:
                self.ok("--version", **options)
            except PermissionError:
                self.skipTest("another user cannot run the command where it was built")
        try:
            for verb in (["produce", "t"], ["consume", "t"], ["stat"]):
                self.refused(1, "permission_denied", *verb, data="x\n", **options)
        finally:
            os.chmod(self.bus, 0o750)


class Installed(support.BusTest):
    def test_an_installed_command_runs(self):
        build = os.environ["TOWPATH_BUILD_DIR"]
        cmake = shutil.which("cmake")
        subprocess.run([cmake, "--install", build, "--prefix", self.folder], check=True, stdout=subprocess.DEVNULL)
        version = subprocess.run([os.path.join(self.folder, "bin", "towpath"), "--version"], check=True,
                                 stdout=subprocess.PIPE)
        self.assertEqual(self.ok("--version").out, version.stdout)


if __name__ == "__main__":
    support.main()
