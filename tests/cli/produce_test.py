"""`towpath produce`: what becomes of lines, and of lines that cannot be sent."""
import base64
import os
import random
import subprocess
import time

import support
from support import numbers


class Lines(support.BusTest):
    def test_each_line_is_a_record_in_order(self):
        self.ok("produce", "t", data="one\ntwo\n\nthree\n")
        self.assertEqual(b"one\ntwo\n\nthree\n", self.ok("consume", "t", "-e").out)

    def test_the_last_line_needs_no_newline(self):
        self.ok("produce", "t", data="one\ntwo")
        self.assertEqual(["one", "two"], self.ok("consume", "t", "-e").lines)

    def test_no_input_is_no_record(self):
        self.ok("produce", "t", data="")
        self.assertEqual(0, self.end_offset("t"))

    def test_files_come_one_after_the_other_and_each_last_line_counts(self):
        for name, text in (("a", "1\n2"), ("b", ""), ("c", "3\n")):
            with open(os.path.join(self.folder, name), "w", encoding="ascii") as file:
                file.write(text)
        paths = [os.path.join(self.folder, name) for name in "abc"]
        self.ok("produce", "t", *paths, "-", data="4\n")
        self.assertEqual(["1", "2", "3", "4"], self.ok("consume", "t", "-e").lines)

    def test_a_folder_is_no_file_and_is_found_before_anything_is_sent(self):
        path = os.path.join(self.folder, "a")
        with open(path, "w", encoding="ascii") as file:
            file.write("1\n")
        self.refused(1, f"cannot read {self.folder}: Is a directory", "produce", "t", path, self.folder)
        self.assertEqual(0, self.end_offset("t"))

    def test_a_topic_may_grow_while_lines_with_keys_come(self):
        self.ok("topic", "create", "t")
        process = self.start("produce", "t", "-K", ":", stdin=subprocess.PIPE)
        process.stdin.write(b"a:1\n")
        process.stdin.flush()
        self.eventually(lambda: self.end_offset("t") == 1)
        self.ok("topic", "alter", "t", "-p", "8")
        done = self.finish(process, "".join(f"{n}:{n}\n" for n in range(100)).encode())
        self.assertEqual(0, done.code, done.err)
        self.assertLess(2, len({record["partition"] for record in self.everything("t")}))

    def test_the_largest_record_may_have_a_long_delimiter(self):
        self.ok("topic", "create", "t", "--config", "max.message.bytes=100")
        process = self.start("produce", "t", "-D", "12345", stdin=subprocess.PIPE)
        process.stdin.write(b"x" * 100 + b"123")
        process.stdin.flush()
        time.sleep(0.1)  # so that it is read in two pieces, if all goes well
        done = self.finish(process, b"45")
        self.assertEqual((0, 1), (done.code, self.end_offset("t")), done.err)

    def test_a_closed_standard_input_is_an_error(self):
        process = self.start("produce", "t", stdin=None, preexec_fn=lambda: os.close(0))
        done = self.finish(process)
        self.assertEqual(1, done.code)
        self.assertIn("cannot read standard input", done.err)

    def test_a_partition_that_a_new_topic_would_not_have_makes_no_topic(self):
        self.ok("topic", "create", "other")
        self.refused(3, "there is no topic 't'", "produce", "t", "-p", "3", data="1\n")
        self.assertEqual(["other"], self.ok("topic", "list").lines)
        self.ok("produce", "t", "-p", "0", data="1\n")

    def test_many_lines_arrive_whole_and_in_order(self):
        self.ok("produce", "t", data=numbers(1, 300_000))
        self.assertEqual(numbers(1, 300_000), self.ok("consume", "t", "-e").out)

    def test_a_typed_line_is_sent_before_the_next_one(self):
        process = self.start("produce", "t", stdin=subprocess.PIPE)
        for count in (1, 2):
            process.stdin.write(b"line\n")
            process.stdin.flush()
            self.eventually(lambda expected=count: self.end_offset("t") == expected)
        self.assertEqual(0, self.finish(process).code)

    def test_random_bytes_survive_with_a_delimiter_of_several_bytes(self):
        dice = random.Random(8)
        delimiter = b"\x00\xff\x00\xfe"
        records = [b"", b"\x00\xff\x00", b"\n"] + [dice.randbytes(dice.randrange(300)) for _ in range(2_000)]
        records += [dice.randbytes(600_000)]  # more than is read at once
        records = [record.replace(delimiter, b"") + b"." for record in records]
        data = b"".join(record + delimiter for record in records)
        typed = r"\x00\xff\x00\xfe"
        self.ok("produce", "t", "-D", typed, data=data)
        self.assertEqual(len(records), self.end_offset("t"))
        self.assertEqual(data, self.ok("consume", "t", "-e", "-D", typed).out)

    def test_compressed_records_read_as_the_others(self):
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            self.ok("produce", codec, "-z", codec, "-H", "a=b", "-k", "key", data=numbers(1, 5_000))
            found = self.everything(codec)
            self.assertEqual([str(n) for n in range(1, 5_001)], [record["payload"] for record in found])
            self.assertEqual({("key", "a", "b")}, {(record["key"], *record["headers"]) for record in found})

    def test_an_unknown_codec_is_refused_before_anything_is_made(self):
        self.refused(2, "-z 'lzma': none, gzip, snappy, lz4 or zstd", "produce", "t", "-z", "lzma", data="x\n")
        self.assertFalse(os.path.exists(self.bus))


class KeysAndHeaders(support.BusTest):
    def test_one_key_and_headers_go_with_every_record(self):
        self.ok("produce", "t", "-k", "ada", "-H", "a=1=2", "-H", "retry", "-H", "a=", data="x\ny\n")
        for record in self.everything("t"):
            self.assertEqual("ada", record["key"])
            self.assertEqual(["a", "1=2", "retry", None, "a", ""], record["headers"])

    def test_a_line_is_split_at_its_first_delimiter(self):
        self.ok("produce", "t", "-K", "::", data="a::1::2\n::3\nb::\n")
        found = [(record["key"], record["payload"]) for record in self.everything("t")]
        self.assertEqual([("a", "1::2"), ("", "3"), ("b", "")], found)

    def test_without_keys_there_is_no_key(self):
        self.ok("produce", "t", data="x\n")
        self.assertIsNone(self.everything("t")[0]["key"])

    def test_null_makes_tombstones_of_empty_values_and_no_key_of_empty_keys(self):
        self.ok("produce", "t", "-K", ":", "-Z", data="a:\n:1\nb:2\n")
        found = [(record["key"], record["payload"]) for record in self.everything("t")]
        self.assertEqual([("a", None), (None, "1"), ("b", "2")], found)

    def test_a_key_has_one_partition_and_keeps_its_order(self):
        self.ok("topic", "create", "t", "-p", "5")
        self.ok("produce", "t", "-K", ",", data="".join(f"key{n % 17},{n}\n" for n in range(20_000)))
        places = {}
        values = {}
        for record in self.everything("t"):
            places.setdefault(record["key"], set()).add(record["partition"])
            values.setdefault(record["key"], []).append(int(record["payload"]))
        self.assertEqual(17, len(places))
        self.assertTrue(all(len(partitions) == 1 for partitions in places.values()), places)
        self.assertGreater(len(set.union(*places.values())), 1)
        self.assertEqual({f"key{k}": list(range(k, 20_000, 17)) for k in range(17)}, values)

    def test_a_partition_that_is_named_gets_all(self):
        self.ok("topic", "create", "t", "-p", "3")
        self.ok("produce", "t", "-p", "2", "-K", ",", data="a,1\nb,2\nc,3\n")
        self.assertEqual({2}, {record["partition"] for record in self.everything("t")})

    def test_records_without_keys_do_not_all_go_to_one_partition(self):
        self.ok("topic", "create", "t", "-p", "2")
        for _ in range(40):  # each command chooses anew
            self.ok("produce", "t", data="x\n")
            if len({record["partition"] for record in self.everything("t")}) == 2:
                return
        self.fail("one partition got everything")


class Refusals(support.BusTest):
    def test_a_line_without_the_delimiter_is_named_and_the_lines_before_it_are_sent(self):
        path = os.path.join(self.folder, "orders.csv")
        with open(path, "w", encoding="ascii") as file:
            file.write("a,1\nb,2\nnothing\nc,3\n")
        done = self.run_command("produce", "t", path, "-K", ",")
        self.assertEqual(1, done.code)
        self.assertIn(f"{path}:3: the key delimiter ',' (-K) is not in this line", done.err)
        self.assertEqual(["1", "2"], self.ok("consume", "t", "-e").lines)

    def test_so_it_is_behind_many_lines_in_several_partitions(self):
        self.ok("topic", "create", "t", "-p", "4")
        good = "".join(f"{n},{n}\n" for n in range(1, 30_001))
        self.refused(1, "standard input:30001: ", "produce", "t", "-K", ",", data=good + "bad\n9,9\n")
        found = sorted(int(line) for line in self.ok("consume", "t", "-e").lines)
        self.assertEqual(list(range(1, 30_001)), found)

    def test_a_record_that_is_too_large_is_named(self):
        self.ok("topic", "create", "t", "--config", "max.message.bytes=100")
        done = self.refused(1, "standard input:2: the record has 101 bytes, and the topic takes 100", "produce", "t",
                            data="x" * 100 + "\n" + "x" * 101 + "\nlast\n")
        self.assertIn("max.message.bytes", done.err)
        self.assertEqual(1, self.end_offset("t"))

    def test_a_line_that_is_too_large_only_when_packed_is_sent_as_it_is(self):
        self.ok("topic", "create", "t", "--config", "max.message.bytes=100")
        lines = [letter * 95 for letter in "abc"]
        self.ok("produce", "t", "-z", "gzip", data="\n".join(lines) + "\n")
        self.assertEqual(lines, self.ok("consume", "t", "-e").lines)
        self.refused(1, "max.message.bytes", "produce", "t", "-z", "gzip", data="x" * 101 + "\n")

    def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(self):
        self.ok("topic", "create", "t", "--config", "max.message.bytes=1000")
        with open("/dev/zero", "rb") as zero:
            done = self.finish(self.start("produce", "t", stdin=zero))
        self.assertEqual(1, done.code)
        self.assertIn("standard input:1: more than 1000 bytes without the delimiter", done.err)

    def test_values_of_another_size_than_the_topics_are_refused(self):
        subprocess.run([support.TYPED_TOPIC, self.bus], check=True)
        self.refused(1, "standard input:2: values of this topic are Pose of 24 bytes, and this one has 5", "produce",
                     "pose", data=b"x" * 24 + b"\nshort\n")
        self.assertEqual(2, self.end_offset("pose"))
        self.ok("produce", "pose", "-Z", "-K", ":", data="gone:\n")
        self.assertIsNone(self.everything("pose")[2]["payload"])
        self.assertEqual(24, len(base64.b64decode(self.everything("pose")[0]["payload_base64"])))

    def test_what_a_full_topic_does_not_take_is_named_and_all_before_it_was_taken(self):
        self.ok("topic", "create", "t", "--config", "towpath.on.full=fail", "--config", "towpath.readers=recorder",
                "--config", "retention.bytes=1048576", "--config", "segment.bytes=262144")
        done = self.refused(1, "queue_full", "produce", "t", data=numbers(1, 1_000_000))
        line = int(done.err.split("standard input:")[1].split(":")[0])
        self.assertGreater(line, 1)
        self.assertEqual(numbers(1, line - 1), self.ok("consume", "t", "-e").out)

    def test_a_missing_file_stops_everything_before_the_first_record(self):
        path = os.path.join(self.folder, "here")
        with open(path, "w", encoding="ascii") as file:
            file.write("1\n")
        self.refused(1, "cannot read ", "produce", "t", path, path + "-not")
        self.assertFalse(os.path.exists(self.bus))

    def test_a_partition_that_is_not_there_is_not_found(self):
        self.ok("topic", "create", "t")
        self.refused(3, "has 1 partition, and there is none of number 1", "produce", "t", "-p", "1", data="x\n")

    def test_senseless_options_are_usage_errors(self):
        for options in (["-k", "a", "-K", ","], ["-D", ""], ["-D", r"\q"], ["-K", r"\x"], ["-H", "=x"], ["-p", "-1"],
                        ["-p", "x"], ["--nonsense"]):
            self.refused(2, "", "produce", "t", *options, data="x\n")

    def test_a_senseless_name_is_a_usage_error_and_makes_no_bus(self):
        self.refused(2, "invalid_name", "produce", "a/b", data="x\n")
        self.assertFalse(os.path.exists(self.bus))

    def test_a_missing_topic_is_made_unless_it_must_exist(self):
        self.assertIn("% Made topic orders", self.ok("produce", "orders", data="1\n").err)
        done = self.refused(3, "there is no topic 'order'", "produce", "order", "--must-exist", data="1\n")
        self.assertIn("did you mean 'orders'?", done.err)
        self.assertEqual(["orders"], self.ok("topic", "list").lines)


if __name__ == "__main__":
    support.main()
