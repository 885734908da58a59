"""`towpath topic` and `towpath stat`."""
import json
import os
import subprocess

import support
from support import numbers


class Topics(support.BusTest):
    def describe(self, name):
        (found,) = json.loads(self.ok("topic", "describe", name, "--format", "json").out)
        return found

    def test_what_is_made_is_listed_and_what_is_deleted_is_not(self):
        self.ok("topic", "create", "b", "a", "c", "-p", "3")
        self.assertEqual(["a", "b", "c"], self.ok("topic", "list").lines)
        self.assertEqual([{"name": name, "partitions": 3} for name in "abc"],
                         json.loads(self.ok("topic", "list", "--format", "json").out))
        self.ok("topic", "delete", "a", "c")
        self.assertEqual(["b"], self.ok("topic", "list").lines)

    def test_a_topic_that_exists_is_an_error_unless_that_is_expected(self):
        self.ok("topic", "create", "t")
        self.refused(1, "topic_exists", "topic", "create", "t")
        self.ok("topic", "create", "t", "u", "--if-not-exists")
        self.assertEqual(["t", "u"], self.ok("topic", "list").lines)

    def test_one_that_fails_does_not_keep_the_others_from_their_fate(self):
        self.ok("topic", "create", "a", "b")
        self.refused(3, "there is no topic 'missing'", "topic", "delete", "a", "missing", "b")
        self.assertEqual([], self.ok("topic", "list").lines)

    def test_every_setting_is_kept_and_described(self):
        settings = {"cleanup.policy": "delete", "retention.bytes": "10000000", "retention.ms": "3600000",
                    "segment.bytes": "1048576", "max.message.bytes": "1000", "flush.ms": "500",
                    "towpath.durability": "none", "towpath.on.full": "block", "towpath.readers": "recorder,planner",
                    "towpath.grace.ms": "50", "towpath.record.alignment": "64", "towpath.writers": "one"}
        options = [option for name, value in settings.items() for option in ("--config", f"{name}={value}")]
        self.ok("topic", "create", "t", "-p", "2", *options)
        found = self.describe("t")
        self.assertEqual(settings, found["config"])
        self.assertEqual([0, 1], [partition["partition"] for partition in found["partitions"]])
        self.assertEqual([("recorder", 0, None), ("recorder", 1, None), ("planner", 0, None), ("planner", 1, None)],
                         [(r["name"], r["partition"], r["next_offset"]) for r in found["readers"]])
        text = self.ok("topic", "describe", "t").out.decode()
        for name, value in settings.items():
            self.assertRegex(text, rf"(?m)^  {name} +{value}$")
        self.assertIn("never came", text)

    def test_unlimited_is_minus_one(self):
        self.ok("topic", "create", "t", "--config", "retention.bytes=-1", "--config", "retention.ms=-1")
        config = self.describe("t")["config"]
        self.assertEqual(("-1", "-1"), (config["retention.bytes"], config["retention.ms"]))

    def test_altering_changes_what_is_named_and_nothing_else(self):
        self.ok("topic", "create", "t", "--config", "retention.ms=5000", "--config", "towpath.grace.ms=7")
        before = self.describe("t")
        self.ok("topic", "alter", "t", "--config", "retention.bytes=2000000", "--delete-config", "retention.ms", "-p", "3")
        after = self.describe("t")
        expected = {**before["config"], "retention.bytes": "2000000", "retention.ms": "604800000"}
        self.assertEqual(expected, after["config"])
        self.assertEqual(3, len(after["partitions"]))
        self.assertEqual(before["id"], after["id"])

    def test_a_setting_that_this_storage_has_not_is_refused(self):
        self.ok("topic", "create", "t")
        for verb, name in (("create", "new"), ("alter", "t")):
            self.refused(2, "only none in memory and on tmpfs", "topic", verb, name, "--config", "towpath.durability=each")
        self.assertEqual(["t"], self.ok("topic", "list").lines)

    def test_settings_that_several_alter_at_once_are_all_kept(self):
        self.ok("topic", "create", "t")
        wanted = {"retention.ms": "5000", "retention.bytes": "2000000", "towpath.grace.ms": "7", "flush.ms": "77"}
        together = [self.start("topic", "alter", "t", "--config", f"{name}={value}") for name, value in wanted.items()]
        for process in together:
            self.assertEqual(0, self.finish(process).code)
        config = self.describe("t")["config"]
        self.assertEqual(wanted, {name: config[name] for name in wanted})

    def test_a_small_segment_makes_the_largest_record_small(self):
        self.ok("topic", "create", "t", "--config", "segment.bytes=262144")
        self.assertEqual("262144", self.describe("t")["config"]["max.message.bytes"])

    def test_senseless_settings_are_usage_errors_and_change_nothing(self):
        self.ok("topic", "create", "t", "-p", "2")
        before = self.describe("t")
        for typed, text in (("retention.sm=5", "did you mean 'retention.ms'?"), ("nonsense=1", "there are cleanup.policy"),
                            ("retention.ms", "NAME=VALUE"), ("retention.ms=x", "-1 (unlimited) or 1 to"),
                            ("retention.ms=0", "retention.ms: -1"), ("retention.bytes=-2", "above 0"),
                            ("segment.bytes=1", "262144"), ("max.message.bytes=99999999999", "1 to segment.bytes"),
                            ("cleanup.policy=compact", "delete"), ("towpath.durability=maybe", "none, interval or each"),
                            ("towpath.on.full=explode", "drop_oldest, block or fail"), ("flush.ms=0", "1 to 86400000"),
                            ("towpath.readers=a b", "16 names"), ("towpath.grace.ms=0", "1 to 3600000"),
                            ("towpath.record.alignment=12", "8, 16, 32 or 64")):
            self.refused(2, text, "topic", "alter", "t", "--config", typed)
            self.refused(2, text, "topic", "create", "new", "--config", typed)
        self.refused(2, "named twice", "topic", "alter", "t", "--config", "flush.ms=5", "--config", "flush.ms=6")
        self.refused(2, "fixed when a topic is created", "topic", "alter", "t", "--config", "towpath.record.alignment=64")
        self.refused(2, "only grows", "topic", "alter", "t", "-p", "1")
        self.refused(2, "no less than max.message.bytes", "topic", "alter", "t", "--config", "segment.bytes=262144")
        self.refused(2, "nothing to alter", "topic", "alter", "t")
        self.refused(2, "no setting 'x'", "topic", "alter", "t", "--delete-config", "x")
        for count in ("0", "32768", "-1", "x"):
            self.refused(2, "--partitions", "topic", "create", "new", "-p", count)
        self.assertEqual(before, self.describe("t"))
        self.assertEqual(["t"], self.ok("topic", "list").lines)

    def test_what_is_not_there_is_not_found(self):
        self.ok("topic", "create", "orders")
        for arguments in (["describe", "order"], ["alter", "order", "-p", "2"], ["delete", "order"]):
            done = self.run_command("topic", *arguments)
            self.assertEqual(3, done.code)
            self.assertIn("did you mean 'orders'?", done.err)

    def test_describe_counts_offsets_bytes_and_segments(self):
        self.ok("produce", "t", data=numbers(1, 50_000))
        (partition,) = self.describe("t")["partitions"]
        self.assertEqual((0, 50_000), (partition["begin_offset"], partition["end_offset"]))
        files = [os.path.join(self.bus, "topics/t/0", name) for name in os.listdir(os.path.join(self.bus, "topics/t/0"))]
        logs = [os.path.getsize(path) for path in files if path.endswith(".log")]
        self.assertEqual((sum(logs), len(logs)), (partition["bytes"], partition["segments"]))

    def test_the_type_of_a_typed_topic_is_described(self):
        subprocess.run([support.TYPED_TOPIC, self.bus], check=True)
        self.assertEqual({"name": "Pose", "encoding": "zero-copy", "size": 24, "alignment": 8},
                         self.describe("pose")["type"])
        self.assertIn("Pose, zero-copy, of 24 bytes", self.ok("topic", "describe").out.decode())


class Stat(support.BusTest):
    def test_every_partition_has_a_row_with_its_counters(self):
        self.ok("topic", "create", "t", "-p", "2", "--config", "retention.bytes=1048576", "--config",
                "segment.bytes=262144")
        self.ok("produce", "t", "-p", "1", data=numbers(1, 200_000))
        empty, full = json.loads(self.ok("stat", "--format", "json").out)["partitions"]
        self.assertEqual(("t", 0, 0, 0), tuple(empty[name] for name in ("topic", "partition", "end", "segments")))
        self.assertEqual(200_000, full["end"])
        self.assertEqual(full["begin"], full["dropped"])
        self.assertGreater(full["dropped"], 0)
        self.assertGreater(full["rolls"], 0)
        lines = self.ok("stat", "t").lines
        self.assertEqual(["TOPIC", "PARTITION", "BEGIN", "END", "BYTES", "SEGMENTS", "DROPPED", "ABORTED", "ROLLS",
                          "RECYCLED", "FRESH", "UNLINKED", "WAITS"], lines[0].split())
        self.assertEqual([["t", "0"], ["t", "1"]], [line.split()[:2] for line in lines[1:3]])
        self.refused(3, "there is no topic 'x'", "stat", "x")

    def test_watching_goes_on_until_it_is_interrupted(self):
        self.ok("topic", "create", "t")
        process = self.start("stat", "--watch", "-i", "10ms", "--format", "json")
        for _ in range(3):
            self.assertEqual("t", json.loads(process.stdout.readline())["partitions"][0]["topic"])
        process.send_signal(support.signal.SIGINT)
        self.assertEqual(130, self.finish(process).code)


if __name__ == "__main__":
    support.main()
