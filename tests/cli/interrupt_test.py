"""Ctrl-C, SIGTERM, readers that go away, and outputs that are full: what was taken in is passed on, and nothing is
silent that should not be."""
import fcntl
import os
import signal
import struct
import subprocess
import termios
import threading

import support
from support import numbers


class Interrupted(support.BusTest):
    def test_a_producer_sends_every_whole_line_that_it_read(self):
        for stop in (signal.SIGINT, signal.SIGTERM):
            topic = stop.name
            reading, writing = os.pipe()
            written = bytearray()
            enough = threading.Event()

            def feed(fd=writing, sent=written, full=enough):
                number = 0
                while not full.is_set():
                    line = b"%d\n" % number
                    try:
                        sent.extend(line[:os.write(fd, line)])
                    except BrokenPipeError:
                        return
                    number += 1
            process = self.start("produce", topic, stdin=reading)
            feeder = threading.Thread(target=feed)
            feeder.start()
            self.eventually(lambda name=topic: self.end_offset(name) > 20_000)
            process.send_signal(stop)
            done = self.finish(process)
            enough.set()
            self.drain_until_joined(reading, feeder, rest := bytearray())
            os.close(writing)
            rest.extend(self.drain(reading))
            self.assertEqual(130, done.code, done.err)
            kept = self.ok("consume", topic, "-e").out
            read_bytes = len(written) - len(rest)
            whole = bytes(written[:read_bytes]).rpartition(b"\n")
            self.assertEqual(whole[0] + whole[1], kept)
            self.assertIn(f"% Interrupted: {kept.count(10)} records sent", done.err)
            if whole[2]:
                self.assertIn(f"% Not sent: {len(whole[2])} bytes behind the last delimiter", done.err)

    @staticmethod
    def drain_until_joined(fd, thread, rest):
        """The feeder may be waiting for room in the pipe."""
        os.set_blocking(fd, False)
        while thread.is_alive():
            try:
                rest.extend(os.read(fd, 65536))
            except BlockingIOError:
                thread.join(0.01)

    @staticmethod
    def drain(fd):
        os.set_blocking(fd, True)
        with os.fdopen(fd, "rb") as stream:
            return stream.read()

    def test_a_producer_that_waits_for_a_line_ends_at_once(self):
        process = self.start("produce", "t", stdin=subprocess.PIPE)
        process.stdin.write(b"whole\nhalf a li")
        process.stdin.flush()
        self.eventually(lambda: self.end_offset("t") == 1)
        process.send_signal(signal.SIGINT)
        self.assertEqual(130, process.wait(support.DEADLINE))
        self.assertEqual(["whole"], self.ok("consume", "t", "-e").lines)

    def test_a_consumer_prints_whole_what_it_began(self):
        self.ok("produce", "t", data=numbers(0, 299_999))
        for stop in (signal.SIGINT, signal.SIGTERM):
            process = self.start("consume", "t")
            self.eventually(lambda pipe=process.stdout: self.bytes_in(pipe) > 32_000)  # so it waits in a write, or will
            process.send_signal(stop)
            done = self.finish(process)
            self.assertEqual(130, done.code, done.err)
            printed = done.out
            self.assertLess(len(printed), 1_000_000)
            self.assertTrue(printed.endswith(b"\n"))
            self.assertEqual(numbers(0, printed.count(b"\n") - 1), printed)

    @staticmethod
    def bytes_in(pipe):
        return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, struct.pack("i", 0)))[0]

    def test_a_consumer_that_waits_ends_at_once(self):
        self.ok("topic", "create", "t", "u")
        for topics in (["t"], ["t", "u"]):
            self.ok("produce", "t", data="x\n")
            process = self.start("consume", *topics)
            self.assertEqual(b"x\n", process.stdout.readline())
            process.send_signal(signal.SIGTERM)
            done = self.finish(process)
            self.assertEqual((130, ""), (done.code, done.err))

    def test_a_second_signal_ends_what_hangs(self):
        self.ok("produce", "t", data=numbers(0, 299_999))
        process = self.start("consume", "t")  # nobody reads its output: it hangs in writing
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)

        def again():
            process.send_signal(signal.SIGINT)
            return process.poll() is not None
        self.eventually(again)
        self.assertEqual(130, process.returncode)

    def test_a_signal_that_was_ignored_stays_ignored(self):
        process = self.start("produce", "t", stdin=subprocess.PIPE,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        process.stdin.write(b"1\n")
        process.stdin.flush()
        self.eventually(lambda: self.end_offset("t") == 1)
        process.send_signal(signal.SIGINT)
        done = self.finish(process, b"2\n")
        self.assertEqual((0, 2), (done.code, self.end_offset("t")))


class Outputs(support.BusTest):
    def test_a_reader_that_goes_away_ends_a_consumer_quietly(self):
        self.ok("produce", "t", data=numbers(0, 299_999))
        process = self.start("consume", "t")
        process.stdout.readline()
        process.stdout.close()
        self.assertEqual((0, b""), (process.wait(support.DEADLINE), process.stderr.read()))

    def test_also_while_it_waits_for_records(self):
        self.ok("produce", "t", data="only\n")
        for arguments in (["consume", "t"], ["hz", "t"], ["stat", "--watch", "-i", "1h"]):
            process = self.start(*arguments)
            process.stdout.readline()
            process.stdout.close()
            self.assertEqual((0, b""), (process.wait(support.DEADLINE), process.stderr.read()), arguments)

    def test_an_output_that_is_full_is_an_error(self):
        self.ok("produce", "t", data="x\n")
        for arguments in (["consume", "t", "-e", "-q"], ["topic", "list"], ["topic", "describe"], ["stat"],
                          ["hz", "t", "-n", "1"], ["--help"], ["--version"]):
            with open("/dev/full", "wb") as full:
                done = self.finish(self.start(*arguments, stdout=full))
            self.assertEqual(1, done.code, arguments)
            self.assertEqual("towpath: cannot write to standard output: No space left on device\n", done.err)


if __name__ == "__main__":
    support.main()
