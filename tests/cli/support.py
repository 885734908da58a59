"""What the tests of the `towpath` command share. They run the real binary as a process, as a shell would.

The binary is named by TOWPATH_CLI, a program that makes a topic of a C++ struct by TOWPATH_CLI_TYPED_TOPIC. Data goes to
TOWPATH_TEST_DIR or /dev/shm, what must lie on a disk to TOWPATH_TEST_DISK_DIR or the current folder.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

CLI = os.environ["TOWPATH_CLI"]
TYPED_TOPIC = os.environ.get("TOWPATH_CLI_TYPED_TOPIC", "")
DEADLINE = 60  # seconds until a test gives up on what must happen; sanitizers are slow


class Done:
    """What is left of a command that has ended."""

    def __init__(self, process, out, err):
        self.code = process.returncode
        self.out = out
        self.err = err.decode(errors="replace")

    @property
    def lines(self):
        return self.out.decode().splitlines()


class BusTest(unittest.TestCase):
    def setUp(self):
        self.folder = self.make_folder(os.environ.get("TOWPATH_TEST_DIR", "/dev/shm"))
        self.use(os.path.join(self.folder, "bus"))

    def make_folder(self, parent):
        folder = tempfile.mkdtemp(prefix="cli-", dir=parent)
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def use(self, bus):
        """The bus that every command of this test is about."""
        self.bus = bus
        self.environment = {**os.environ, "TOWPATH_DIR": bus}

    def start(self, *arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **options):
        options.setdefault("env", self.environment)
        process = subprocess.Popen([CLI, *arguments], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, **options)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def finish(self, process, data=None):
        return Done(process, *process.communicate(data, timeout=DEADLINE))

    def run_command(self, *arguments, data=b"", **options):
        if isinstance(data, str):
            data = data.encode()
        return self.finish(self.start(*arguments, stdin=subprocess.PIPE, **options), data)

    def ok(self, *arguments, data=b"", **options):
        done = self.run_command(*arguments, data=data, **options)
        self.assertEqual(0, done.code, done.err)
        return done

    def refused(self, code, text, *arguments, data=b"", **options):
        """The command ends with the code, says the text on stderr, and nothing on stdout."""
        done = self.run_command(*arguments, data=data, **options)
        self.assertEqual(code, done.code, done.err)
        self.assertIn(text, done.err)
        self.assertEqual(b"", done.out)
        return done

    def everything(self, topic, *options):
        """All records of a topic, as the objects of -J."""
        return [json.loads(line) for line in self.ok("consume", topic, "-e", "-q", "-J", *options).lines]

    def end_offset(self, topic):
        stat = self.run_command("stat", topic, "--format", "json")
        if stat.code != 0:
            return 0
        return sum(partition["end"] for partition in json.loads(stat.out)["partitions"])

    def eventually(self, condition):
        deadline = time.monotonic() + DEADLINE
        while not condition():
            self.assertLess(time.monotonic(), deadline, "it did not happen in time")


def numbers(first, last):
    """One line for each number from first to last."""
    return "".join(f"{n}\n" for n in range(first, last + 1)).encode()


def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the commands shall not inherit that it is ignored
    program = unittest.main(module="__main__", exit=False, verbosity=1)
    for case, reason in program.result.skipped:
        print(f"skipped: {case.id()}: {reason}")  # tools/test shows it
    sys.exit(0 if program.result.wasSuccessful() and program.result.testsRun > 0 else 1)
