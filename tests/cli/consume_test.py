"""`towpath consume` and `towpath hz`: where reading begins and ends, and how records are printed."""
import base64
import datetime
import glob
import json
import os
import re
import subprocess
import threading

import support
from support import numbers


class BeginAndEnd(support.BusTest):
    def test_each_offset_means_what_the_help_says(self):
        self.ok("topic", "create", "t", "-p", "2")
        for partition in "01":
            self.ok("produce", "t", "-p", partition, data=numbers(0, 9))
        expected = {"start": 0, "beginning": 0, "earliest": 0, "end": 10, "latest": 10, "0": 0, "7": 7, "-3": 7, "-99": 0,
                    "10": 10, "-0": 10}
        for typed, first in expected.items():
            found = [(record["partition"], record["offset"]) for record in self.everything("t", "-o", typed)]
            self.assertEqual([(p, o) for p in (0, 1) for o in range(first, 10)], sorted(found), typed)

    def test_a_time_is_where_the_first_record_as_late_stands(self):
        self.ok("produce", "t", data="old\n")
        old = self.everything("t")[0]["ts"]
        while True:
            self.ok("produce", "t", data="new\n")
            new = self.everything("t", "-o", "-1")[0]["ts"]
            if new > old:
                break
        zone = datetime.timezone(datetime.timedelta(hours=-3, minutes=-30))
        moment = datetime.datetime.fromtimestamp(new // 1000, zone)
        text = moment.strftime(f"%Y-%m-%dT%H:%M:%S.{new % 1000:03}-03:30")
        first = next(record["offset"] for record in self.everything("t") if record["ts"] >= new)
        for typed in (f"@{new}", f"s@{new}", "@" + text):
            self.assertEqual(first, self.everything("t", "-o", typed)[0]["offset"], typed)
        self.assertEqual([], self.everything("t", "-o", "@9000000000000"))
        self.assertEqual(0, self.everything("t", "-o", "@2001-01-01")[0]["offset"])

    def test_senseless_offsets_are_usage_errors(self):
        self.ok("produce", "t", data="x\n")
        for typed in ("", "x", "1x", "--1", "@", "@x", "@2024-13-01", "@2024-02-30", "@2024-01-01T00:00:00",
                      "@2024-01-01T24:00:00Z", "@-5", "@99999999999999999999", "99999999999999999999"):
            self.refused(2, "-o ", "consume", "t", "-e", "-o", typed)

    def test_an_offset_behind_the_end_is_said_and_reading_begins_at_the_end(self):
        self.ok("produce", "t", data="x\n")
        done = self.ok("consume", "t", "-e", "-o", "5")
        self.assertEqual(b"", done.out)
        self.assertIn("t [0]: offset 5 is behind the end; reading from the end, 1", done.err)

    def test_a_count_ends_it_in_the_middle(self):
        self.ok("produce", "t", data=numbers(1, 10_000))
        self.assertEqual(numbers(1, 1_500), self.ok("consume", "t", "-n", "1500").out)
        self.assertEqual(numbers(101, 101), self.ok("consume", "t", "-c", "1", "-o", "100").out)

    def test_at_the_end_it_says_where_that_is_unless_it_is_to_be_quiet(self):
        self.ok("topic", "create", "t", "-p", "2")
        self.ok("produce", "t", "-p", "1", data="x\ny\n")
        done = self.ok("consume", "t", "-e")
        self.assertIn("% Reached end of topic t [0] at offset 0\n", done.err)
        self.assertIn("% Reached end of topic t [1] at offset 2\n", done.err)
        self.assertEqual("", self.ok("consume", "t", "-e", "-q").err)

    def test_the_end_is_reached_while_a_producer_goes_on(self):
        endless = self.start("produce", "t", stdin=subprocess.PIPE)
        stop = threading.Event()

        def feed():
            while not stop.is_set():
                endless.stdin.write(b"line\n" * 1000)
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            self.eventually(lambda: self.end_offset("t") > 0)
            self.assertGreater(len(self.ok("consume", "t", "-e").lines), 0)
        finally:
            stop.set()
            feeder.join()
        self.assertEqual(0, self.finish(endless).code)

    def test_a_topic_may_be_named_behind_two_dashes(self):
        self.ok("produce", "--", "-x", data="1\n")
        for verb in ("consume", "-e"), ("topic", "describe"), ("stat",), ("topic", "delete"):
            self.ok(*verb, "--", "-x")
        path = os.path.join(self.folder, "-f")
        with open(path, "w", encoding="ascii") as file:
            file.write("2\n")
        self.ok("produce", "t", "--", path)
        self.assertEqual(["2"], self.ok("consume", "-e", "--", "t").lines)

    def test_a_delimiter_says_nothing_to_json(self):
        self.ok("topic", "create", "t")
        self.refused(2, "--json", "consume", "t", "-K", ",", "-J")

    def test_a_segment_that_is_gone_is_an_error_and_no_empty_topic(self):
        self.ok("produce", "t", data="1\n")
        for name in glob.glob(os.path.join(self.bus, "topics/t/0/*.log")):
            os.unlink(name)
        for _ in range(2):
            self.refused(1, "corrupt", "consume", "t", "-e")
            self.refused(1, "corrupt", "produce", "t", data="2\n")

    def test_no_time_at_all_is_enough_for_what_is_there(self):
        self.ok("produce", "t", data="1\n2\n")
        self.assertEqual(["1", "2"], self.ok("consume", "t", "--timeout", "0s").lines)
        self.refused(4, "no record came in time", "consume", "t", "-o", "end", "--timeout", "0s")

    def test_nothing_in_time_is_a_timeout_and_so_is_less_than_was_asked_for(self):
        self.ok("produce", "t", data="1\n2\n")
        done = self.run_command("consume", "t", "-n", "3", "--timeout", "50ms")
        self.assertEqual((4, ["1", "2"]), (done.code, done.lines))
        self.assertIn("2 of 3 records came in time", done.err)
        self.refused(4, "no record came in time", "consume", "t", "-o", "end", "--timeout", "0.05")
        self.assertEqual(["1", "2"], self.ok("consume", "t", "--timeout", "0.05s").lines)
        for typed in ("", "x", "5 apples", "-1s", "nan", "inf"):
            self.refused(2, "--timeout", "consume", "t", "--timeout", typed)

    def test_only_the_partitions_that_are_named_are_read(self):
        self.ok("topic", "create", "t", "-p", "4")
        for partition in "0123":
            self.ok("produce", "t", "-p", partition, data=f"p{partition}\n")
        self.assertEqual(["p1", "p3"], sorted(self.ok("consume", "t", "-e", "-p", "3", "-p", "1").lines))
        self.refused(3, "there is none of number 4", "consume", "t", "-p", "4")

    def test_several_topics_are_read_each_in_order(self):
        for topic in "abc":
            self.ok("produce", topic, data=numbers(1, 3_000))
        lines = self.ok("consume", "a", "b", "c", "-e", "-f", "%t %s\n").lines
        for topic in "abc":
            self.assertEqual([f"{topic} {n}" for n in range(1, 3_001)], [line for line in lines if line[0] == topic])
        self.refused(2, "named twice", "consume", "a", "a")

    def test_a_topic_may_be_called_as_a_verb(self):
        self.ok("produce", "stat", data="x\n")
        self.ok("produce", "topic", data="y\n")
        self.assertEqual(["x"], self.ok("consume", "stat", "-e").lines)
        self.assertEqual(["y"], self.ok("consume", "topic", "-e").lines)


class Live(support.BusTest):
    def read_live(self, *topics):
        """Starts a consumer at the end of topics, and returns when it has seen something of each."""
        for topic in topics:
            self.ok("topic", "create", topic)
        process = self.start("consume", *topics, "-o", "end", "-f", "%t %s\\n")
        seen = []
        reader = threading.Thread(target=self.collect, args=(process.stdout, seen))
        reader.start()
        self.addCleanup(reader.join)
        self.addCleanup(process.kill)
        for topic in topics:
            def warm(name=topic):
                self.ok("produce", name, data="warm\n")
                return f"{name} warm\n".encode() in seen
            self.eventually(warm)
        return process, seen

    @staticmethod
    def collect(stream, seen):
        for line in iter(stream.readline, b""):
            seen.append(line)

    def test_what_is_produced_is_consumed_by_another_process_as_it_comes(self):
        _, seen = self.read_live("t")
        self.ok("produce", "t", data=numbers(1, 50_000))
        self.eventually(lambda: b"t 50000\n" in seen[-1:])
        self.assertEqual([f"t {n}\n".encode() for n in range(1, 50_001)], [line for line in seen if line != b"t warm\n"])

    def test_several_topics_are_followed_at_once(self):
        _, seen = self.read_live("a", "b", "c")
        for topic in "cab":
            self.ok("produce", topic, data=numbers(1, 100))
        self.eventually(lambda: all(f"{topic} 100\n".encode() in seen for topic in "abc"))
        for topic in "abc":
            self.assertEqual([f"{topic} {n}\n".encode() for n in range(1, 101)],
                             [line for line in seen if line.startswith(topic.encode()) and b"warm" not in line])

    def test_stat_and_describe_see_who_takes_part(self):
        process, _ = self.read_live("t")
        members = json.loads(self.ok("stat", "--format", "json").out)["members"]
        self.assertIn({"kind": "consumer", "name": "t", "pid": process.pid}, members)
        self.assertEqual(1, json.loads(self.ok("topic", "describe", "t", "--format", "json").out)[0]["consumers"])
        self.assertIn("consumer", self.ok("stat", "t").out.decode())

    def test_hz_counts_records_bytes_and_gaps(self):
        self.ok("topic", "create", "t")
        process = self.start("hz", "t", "-n", "2", "--format", "json")
        while process.poll() is None:
            self.ok("produce", "t", "-k", "key", data="12345\n12345\n")
        reports = [json.loads(line) for line in self.finish(process).lines]
        self.assertEqual(2, len(reports))
        busy = max(reports, key=lambda report: report["records"])
        self.assertGreater(busy["records"], 0)
        self.assertAlmostEqual(8, busy["bytes_per_s"] / busy["records_per_s"], places=2)
        gap = busy["gap_ms"]
        self.assertLessEqual(0, gap["min"])
        self.assertLessEqual(gap["min"], gap["mean"])
        self.assertLessEqual(gap["mean"], gap["max"])
        text = self.ok("hz", "t", "-n", "1").out.decode()
        self.assertEqual("0.0 records/s  0 B/s\n", text)


class Formats(support.BusTest):
    def test_every_letter_prints_what_the_help_says(self):
        self.ok("produce", "t", "-k", "key", "-H", "a=1", "-H", "b", data="value\n")
        ts = self.everything("t")[0]["ts"]
        done = self.ok("consume", "t", "-e", "-f", r"%s|%S|%R|%k|%K|%T|%t|%p|%o|%h|%%\t\x41\\\n")
        expected = f"value|5|\0\0\0\5|key|3|{ts}|t|0|0|a=1,b=NULL|%\tA\\\n".encode()
        self.assertEqual(expected, done.out)

    def test_what_is_not_there_has_size_minus_one_and_no_text(self):
        self.ok("produce", "t", "-Z", data="\n")
        self.assertEqual(b"[][-1][][-1][\xff\xff\xff\xff]", self.ok("consume", "t", "-e", "-f", "[%s][%S][%k][%K][%R]").out)
        self.assertEqual(b"[NULL][-1][NULL]", self.ok("consume", "t", "-e", "-Z", "-f", "[%s][%S][%k]").out)
        self.assertEqual(b"NULL:NULL\n", self.ok("consume", "t", "-e", "-Z", "-K", ":").out)

    def test_keys_and_delimiters_come_back_as_they_went_in(self):
        data = b"a\t1\n\0b\t2\n\0"
        self.ok("produce", "t", "-K", r"\t", "-D", r"\0", data=data)
        self.assertEqual(data, self.ok("consume", "t", "-e", "-K", r"\t", "-D", r"\0").out)

    def test_senseless_formats_are_usage_errors(self):
        self.ok("produce", "t", data="x\n")
        for typed in ("%q", "%", r"\q", "\\"):
            self.refused(2, "-f ", "consume", "t", "-e", "-f", typed)
        self.refused(2, "excludes", "consume", "t", "-J", "-f", "%s")

    def test_the_envelope_is_json_with_kcats_names(self):
        text = 'quote " backslash \\ newline-free \u00e4\u20ac\U0001f600 \x00\x01'
        self.ok("produce", "t", "-k", "k\u00e9", "-H", "h=1", "-H", "none", data=text + "\n")
        lines = self.ok("consume", "t", "-e", "-J").out.decode().splitlines()
        self.assertEqual(1, len(lines))
        record = json.loads(lines[0])
        self.assertEqual(["topic", "partition", "offset", "tstype", "ts", "broker", "headers", "key", "payload"],
                         list(record))
        self.assertEqual(("t", 0, 0, "create"), tuple(record[name] for name in ("topic", "partition", "offset", "tstype")))
        self.assertEqual((["h", "1", "none", None], "k\u00e9", text),
                         (record["headers"], record["key"], record["payload"]))

    def test_bytes_that_are_not_utf_8_stand_in_base64_in_the_envelope(self):
        broken = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"a\x80", b"\xf0\x80\x80\x80"]
        self.ok("produce", "t", "-K", ":", "-H", b"h=\xfe", data=b"".join(b + b":" + b + b"\n" for b in broken))
        found = self.everything("t")
        for name in ("key", "payload"):
            self.assertEqual(broken, [base64.b64decode(record[name + "_base64"], validate=True) for record in found])
            self.assertTrue(all(name not in record for record in found))
        self.assertEqual(["h", {"base64": "/g=="}], found[0]["headers"])


class Trouble(support.BusTest):
    def test_an_unknown_topic_is_not_found_and_the_nearest_name_is_told(self):
        self.ok("topic", "create", "lidar.front", "orders")
        done = self.refused(3, "there is no topic 'lidar.frnot'", "consume", "lidar.frnot")
        self.assertIn("did you mean 'lidar.front'?", done.err)
        self.assertNotIn("did you mean", self.refused(3, "there is no topic", "consume", "temperature").err)
        self.assertEqual(["lidar.front", "orders"], self.ok("topic", "list").lines)

    def test_reading_makes_no_bus(self):
        for verb in (["consume", "t"], ["topic", "list"], ["topic", "describe", "t"], ["stat"], ["hz", "t"]):
            self.refused(3, f"there is no bus in {self.bus}", *verb)
        self.assertFalse(os.path.exists(self.bus))

    def test_what_retention_took_is_said(self):
        self.ok("topic", "create", "t", "--config", "retention.bytes=1048576", "--config", "segment.bytes=262144")
        self.ok("produce", "t", data=numbers(1, 300_000))
        done = self.ok("consume", "t", "-e", "-o", "0")
        found = [int(line) for line in done.lines]
        # More may go while it reads: spares count as kept bytes, and maintenance makes some.
        gone = [int(number) for number in re.findall(r"t: (\d+) records were gone before", done.err)]
        self.assertGreater(gone[0], 0)
        self.assertEqual(300_000, len(found) + sum(gone))
        self.assertEqual((gone[0] + 1, 300_000), (found[0], found[-1]))
        self.assertEqual(sorted(set(found)), found)

    def test_a_record_that_cannot_be_read_is_named_and_reading_can_go_on_behind_it(self):
        disk = self.make_folder(os.environ.get("TOWPATH_TEST_DISK_DIR", "."))
        self.use(os.path.join(disk, "bus"))
        made = self.run_command("produce", "t", data="first\nsecond\nthird\n")
        if "unsupported_filesystem" in made.err:
            self.skipTest(f"{disk} is on no filesystem that towpath takes")
        self.assertEqual(0, made.code, made.err)
        (path,) = glob.glob(os.path.join(self.bus, "topics/t/0/*.log"))
        with open(path, "r+b") as file:
            at = file.read().index(b"second")
            file.seek(at)
            file.write(b"S")
        done = self.run_command("consume", "t", "-e")
        self.assertEqual(1, done.code)
        self.assertEqual(["first"], done.lines)
        self.assertIn("t [0] at offset 1: corrupt", done.err)
        self.assertEqual(["third"], self.ok("consume", "t", "-e", "-o", "2").lines)

    def test_a_topic_that_is_deleted_under_a_consumer_ends_it(self):
        self.ok("produce", "t", data="x\n")
        process = self.start("consume", "t")
        self.assertEqual(b"x\n", process.stdout.readline())
        self.ok("topic", "delete", "t")
        done = self.finish(process)
        self.assertEqual(3, done.code)
        self.assertIn("topic_deleted", done.err)


if __name__ == "__main__":
    support.main()
