"""What tools/bench measures: a group is what one run of one program measures at once."""
from typing import NamedTuple


class Group(NamedTuple):
    measures: tuple  # what it prints; the first is the one that rounds have to agree on
    text: str  # one line
    rounds: int = 99  # the most that make sense: the long ones are long enough by themselves
    program: str = ""  # bench_<program>_<system> where a group has a program of its own: it needs a library that others
    #                    do not, or stands apart
    on_disk: bool = False  # where /dev/shm would say nothing


def percentiles(prefix):
    return tuple(f"{prefix}_{name}" for name in ("p50", "p99", "p999", "p9999"))


GROUPS = {
    "rtt_32": Group(percentiles("rtt_32"), "round trip of 32 bytes between two spinning processes"),
    "rtt_32_aligned": Group(("rtt_32_p99_aligned",), "the same with records aligned to 64 bytes"),
    "rtt_1k": Group(percentiles("rtt_1k"), "round trip of 1 KiB between two spinning processes"),
    "rtt_block": Group(("rtt_block_p50", "rtt_block_p99"), "round trip between two processes that sleep in the kernel"),
    "append_100": Group(("append_100",), "a sender alone, 100 bytes each; what keeps no history is emptied each time it is full, "
                        "untimed"),
    "append_100_by_100": Group(("append_100_by_100",), "the same, 100 records in one transaction; stores only"),
    "append_1k": Group(("append_1k",), "a sender alone, 1 KiB each"),
    "stream_100": Group(("stream_100", "stream_100_cpu", "stream_100_faults"),
                        "one to one, a burst of 100 bytes each; processor time of all processes and page faults, per record"),
    "stream_1k": Group(("stream_1k", "stream_1k_cpu", "stream_1k_faults"), "the same with 1 KiB each"),
    "sustained_100": Group(("sustained_100", "sustained_100_worst", "sustained_100_stall"),
                           "one to one for --seconds: mean, worst 100 ms, longest time without a record", 2),
    "sustained_1k": Group(("sustained_1k", "sustained_1k_worst", "sustained_1k_stall"), "the same with 1 KiB each", 2),
    "paced_1k": Group(("paced_1k_p50", "paced_1k_p99", "paced_1k_p999"),
                      "1 KiB at 250,000 records/s: latency from when each was due, one way"),
    "handoff_1m": Group(("handoff_1m_p50",),
                        "round trip of 1 MiB each way, only the header written and read: ring, towpath and iceoryx loan "
                        "it, the others copy it"),
    "two_to_one": Group(("two_to_one", "two_to_one_each"),
                        "two writers on one core, one reader on the other, 100 bytes: sum, and the slower writer"),
    "one_to_three": Group(("one_to_three", "one_to_three_each"),
                          "one writer that waits for the slowest, three readers on one core, 100 bytes: sum of what "
                          "they read, and the slowest; only systems whose readers each see everything"),
    "replay_100": Group(("replay_100",), "a late reader reads history"),
    "lookup_1e3": Group(("lookup_1e3",), "a seek to a random offset and one read, 1,000 records"),
    "lookup_1e8": Group(("lookup_1e8",), "the same with 100 million records", 1),
    "open_1000": Group(("open_1000",), "a process opens a topic of 1,000 partitions"),
    "batch_100": Group(("append_batch_100", "stream_batch_100"), "batches of 16", program="scale"),
    "append_2p_100": Group(("append_2p_100",), "two processes append to one partition", program="scale"),
    "append_one_100": Group(("append_one_100",), "a sender alone to a topic of one writer", program="scale"),
    "stream_one_100": Group(("stream_one_100",), "one to one in a topic of one writer", program="scale"),
    "fan_1_3_100": Group(("fan_1_3_100",), "one writer that waits for nobody, three readers", program="scale"),
    "decode_lz4": Group(("decode_lz4", "decode_lz4_bytes"), "records of a compressed batch", program="decode"),
    "epoll_rtt": Group(("epoll_rtt_p50", "epoll_rtt_p99"), "round trip of two that sleep in epoll_wait",
                       program="epoll"),
    "durable_each": Group(("durable_each", "durable_each_8"), "flushed to the disk one by one, one and eight senders",
                          3, "durable", True),
    "idle_rss": Group(("idle_rss",), "resident memory beside mapped data", 3),
    "compile_include": Group(("compile_include",), "compiling #include <towpath/towpath.hpp>"),
}
MEASURES = [measure for group in GROUPS.values() for measure in group.measures]
