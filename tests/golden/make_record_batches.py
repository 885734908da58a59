#!/usr/bin/env python3
"""Makes tests/golden/record_batch_*.bin: record batches as real clients of Kafka encode them; and the fuzzer's corpus,
tests/fuzz/corpus/record_batch/, of the first five records each.

  /usr/bin/python3 tests/golden/make_record_batches.py          write the files beside this script
  /usr/bin/python3 tests/golden/make_record_batches.py --read FILE   print what kafka-python finds in a run of batches
  /usr/bin/python3 tests/golden/make_record_batches.py --check PROGRAM  does kafka-python read what PROGRAM writes?

Needs the Debian packages python3-kafka (2.0.2), python3-lz4, python3-snappy, python3-zstandard and
python3-confluent-kafka (librdkafka 2.0.2). Only --check is a test: the files are
committed. RECORDS says what stands in them; tests/log/batch_support.hpp says the same to the tests. PROGRAM is the
program of tests/adapters. No broker is needed: librdkafka brings a mock of one, which keeps
batches byte for byte as they came.
"""
import gzip
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import types

HERE = pathlib.Path(__file__).resolve().parent
BASE_MS = 1_700_000_000_000
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
PRODUCER = {"producer_id": 4711, "producer_epoch": 3, "base_sequence": 42}

# (milliseconds after BASE_MS, key, value, headers)
RECORDS = [
    (0, b"robot-1", b"pose " * 60, [("trace", b"abc"), ("null", None), ("", b"")]),
    (-10, None, b"no key, and older than the record before", []),
    (5, b"robot-2", None, []),
    (6, b"robot-3", b"", [("only", b"one")]),
    (7, None, None, []),
] + [(10 * i, b"key-%d" % (i % 3), bytes([ord("a") + i % 26]) * 100, []) for i in range(1, 21)]


def with_kafka_python(codec, records=RECORDS):
    from kafka.record.default_records import DefaultRecordBatchBuilder
    gzip.time = types.SimpleNamespace(time=lambda: 0)  # else the file says when it was made
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=CODECS.index(codec), is_transactional=codec == "gzip", batch_size=1 << 20, **PRODUCER)
    for offset, (after, key, value, headers) in enumerate(records):
        builder.append(offset, timestamp=BASE_MS + after, key=key, value=value, headers=headers)
    return bytes(builder.build())


def with_librdkafka(codec):
    from confluent_kafka import Producer
    producer = Producer({"test.mock.num.brokers": 1, "compression.type": codec, "linger.ms": 200,
                         "enable.idempotence": codec == "zstd"})
    for after, key, value, headers in RECORDS:
        producer.produce("golden", key=key, value=value, headers=headers or None, partition=0,
                         timestamp=BASE_MS + after)
    if producer.flush(20) != 0:
        sys.exit("the mock broker took no records")
    broker = next(iter(producer.list_topics(timeout=10).brokers.values()))
    return fetch(broker.host, broker.port)


def fetch(host, port):
    """The record set at offset 0 of golden-0, by one Fetch request of version 4."""
    name = b"golden"
    body = struct.pack(">iiiib", -1, 1000, 1, 1 << 20, 0) + struct.pack(">i", 1) + struct.pack(">h", len(name)) + name
    body += struct.pack(">iiqi", 1, 0, 0, 1 << 20)
    request = struct.pack(">hhih", 1, 4, 1, 2) + b"me" + body
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        size = struct.unpack(">i", exactly(connection, 4))[0]
        answer = exactly(connection, size)
    # correlation 4, throttle 4, topics 4, name 2 + n, partitions 4, partition 4, error 2, high watermark 8, stable 8,
    # aborted transactions 4 (-1 or 0), size 4
    at = 4 + 4 + 4 + 2 + len(name) + 4 + 4
    error, _, _, aborted, length = struct.unpack_from(">hqqii", answer, at)
    if error != 0 or aborted > 0:
        sys.exit(f"the mock broker answered with error {error}")
    return answer[at + 26:at + 26 + length]


def exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            sys.exit("the mock broker hung up")
        data += part
    return data


def show(path):
    from kafka.record.memory_records import MemoryRecords
    batches = MemoryRecords(pathlib.Path(path).read_bytes())
    while batches.has_next():
        batch = batches.next_batch()
        if not batch.validate_crc():
            sys.exit("wrong checksum")
        print(f"batch {batch.base_offset} codec={batch.compression_type} control={batch.is_control_batch} "
              f"transactional={batch.is_transactional} last_delta={batch.last_offset_delta}")
        for r in batch:
            print(f"{r.offset} {r.timestamp} {r.timestamp_type} {r.key} {r.value} {r.headers}")


def check(program):
    """Runs the program, reads its batches and compares them with RECORDS."""
    from kafka.record.memory_records import MemoryRecords
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "batches"
        subprocess.run([program, "--role=write_batches", path], check=True)
        run, found = MemoryRecords(path.read_bytes()), []
        while run.has_next():
            batch = run.next_batch()
            found.append((batch.validate_crc(), batch.compression_type, batch.is_control_batch, batch.is_transactional,
                          [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, r.headers) for r in batch]))
    plain = [[(1000 + 25 * b + i, BASE_MS + after, 0, key, value, headers)
              for i, (after, key, value, headers) in enumerate(RECORDS)] for b in range(6)]
    expected = [(True, codec, False, False, plain[codec]) for codec in range(5)]
    expected.append((True, 0, False, False, [(r[0], BASE_MS + 12345, 1, *r[3:]) for r in plain[5]]))
    marker = (1150, BASE_MS, 0, b"\0\0\0\1", b"\0\0\0\0\0\3", [])
    expected.append((True, 0, True, True, [marker]))
    if found != expected:
        for got, wanted in zip(found, expected):
            if got != wanted:
                print(f"got    {got}\nwanted {wanted}")
        sys.exit(f"kafka-python reads something else from {len(found)} batches")
    print(f"kafka-python reads {len(found)} batches as they were meant")


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--read":
        return show(sys.argv[2])
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        return check(sys.argv[2])
    for client, make in (("kafka_python", with_kafka_python), ("librdkafka", with_librdkafka)):
        for codec in CODECS:
            batch = make(codec)
            size, attributes = struct.unpack_from(">i", batch, 8)[0] + 12, struct.unpack_from(">h", batch, 21)[0]
            if size != len(batch) or CODECS[attributes & 7] != codec or len(batch) >= 4096:
                sys.exit(f"{client} made no single {codec} batch of a reasonable size")
            (HERE / f"record_batch_{client}_{codec}.bin").write_bytes(batch)
            print(f"{client} {codec}: {len(batch)} bytes")
    corpus = HERE.parent / "fuzz/corpus/record_batch"
    corpus.mkdir(exist_ok=True)
    for codec in CODECS:
        (corpus / codec).write_bytes(with_kafka_python(codec, RECORDS[:5]))


if __name__ == "__main__":
    main()
