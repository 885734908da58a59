// The parts of the help that are more than a list of options: examples, and what cannot be seen from a name.
#pragma once

namespace towpath::cli::help {

inline constexpr const char* command = R"(
A bus is a folder: --dir, else $TOWPATH_DIR, else $XDG_RUNTIME_DIR/towpath, else /dev/shm/towpath-UID. It is made, in a
folder that exists, by who comes first with `produce` or `topic create`. Data goes to standard output, all else to
standard error.

Begin with:
  echo hello | towpath produce greetings
  towpath consume greetings -e
  towpath produce --help

Exit codes: 0 ok, 1 error, 2 usage, 3 no such bus, topic or partition, 4 timeout, 130 ended by Ctrl-C or SIGTERM.)";

/// Below the help of each verb.
inline constexpr const char* everywhere = R"(

With every verb: -d,--dir DIR is the bus's folder (see `towpath --help`), -q,--quiet says only errors.)";

inline constexpr const char* produce = R"(
Each line is a record. It is sent as soon as it is read; lines that come fast are sent together. The topic is made if it
is missing. A line that cannot be sent ends the command with exit code 1 and is named, as in `orders.csv:17: ...`: the
lines before it are in the log, it and those after it are not; with -K and several partitions, lines after it that
belong to other partitions may be. A line that -z makes larger than the topic takes is sent as it is. On Ctrl-C every
whole line that was read is sent first. Exit codes beside the common ones: 3 the topic was deleted meanwhile, 4 the
readers that the topic waits for made no room within a minute.
DELIM may have the escapes \n \r \t \0 \\ \xHH. A topic of values with a fixed size takes no other size.

Examples:
  echo 21.5 | towpath produce temperature                      one record
  towpath produce orders orders.csv more.csv                   a record for each line of the files
  towpath produce orders -K , < orders.csv                     what stands before the first comma is the key
  towpath produce orders -k ada -H source=shop -H retry < x    one key for all; headers, one without a value
  towpath produce events -z zstd -p 0 events.log               as compressed batches, to partition 0
  find . -print0 | towpath produce files -D '\0'               records that may contain newlines
  echo ada: | towpath produce users -K : -Z                    a tombstone: key ada has no value any more)";

inline constexpr const char* consume = R"(
Prints each value and a newline, and goes on with what comes. Several topics are mixed as they come; the records of a
partition keep their order. A topic that is missing is exit code 3.

FROM (-o), for each partition:
  start   the first record there is (the default)     N      offset N                -N   the last N records
  end     what comes from now on                      @TIME  the first record at or after TIME: milliseconds since
                                                             1970, 2024-05-01T12:00:00Z, 2024-05-01 (UTC)
FORMAT (-f), with the escapes \n \r \t \0 \\ \xHH:
  %s value   %S its size, -1 for a tombstone   %R the same as 4 bytes, big-endian
  %k key     %K its size, -1 for none          %h headers as a=1,b=2
  %t topic   %p partition   %o offset          %T timestamp, milliseconds since 1970   %% a percent sign
-J prints kcat's envelope, one JSON object per line: topic, partition, offset, tstype, ts, broker, headers (name and
value in turn; only if there are any), key, payload. Bytes that are not UTF-8 stand in Base64 in key_base64 and
payload_base64.
TIME (--timeout) is 5s, 250ms, 2m, 1h; a number alone is seconds. Exit code 4 if nothing came at all, or fewer than -n.

Examples:
  towpath consume orders -e                          all there is, then end
  towpath consume orders -o -10 -e                   the last ten of each partition
  towpath consume orders users -o end -J             two topics from now on, as JSON
  towpath consume orders -o @2024-05-01T12:00:00Z -f '%T %k %s\n'
  towpath consume orders -n 1 --timeout 5s           one record; exit code 4 if none comes within 5 s
  towpath consume files -e -D '\0' | xargs -0 ls     records that may contain newlines)";

inline constexpr const char* topic_config = R"(
Settings (--config NAME=VALUE), with Kafka's names; -1 is unlimited:
  retention.bytes     per partition; on tmpfs 256 MiB by default, at most 1/8 of what is free; on disk -1
  retention.ms        by the records' own times; 7 days by default
  segment.bytes       262144 to 4294967296; 64 MiB by default
  max.message.bytes   value, key and headers of a record together; 16 MiB by default
  flush.ms            how often records are flushed to the disk with towpath.durability=interval
  towpath.durability  none, interval or each (send returns after the flush); only none on tmpfs
  towpath.on.full     drop_oldest, block or fail: what a send does when the topic is full and one of towpath.readers
                      still needs the oldest records
  towpath.readers     names of consumers, separated by commas
  towpath.grace.ms    how long a frozen producer may hold readers up; 1000 by default
  towpath.record.alignment  8, 16, 32 or 64; fixed when the topic is made)";

inline constexpr const char* topic = R"(
Examples:
  towpath topic create orders -p 4 --config retention.ms=3600000
  towpath topic list
  towpath topic describe orders --format json
  towpath topic alter orders --config retention.bytes=1073741824 -p 8
  towpath topic delete orders)";

inline constexpr const char* topic_list = R"(
Prints the names, one per line. With --format json an array of objects: name, partitions.)";

inline constexpr const char* topic_describe = R"(
Prints what the topic holds, its settings, and for each partition the first offset, the offset behind the last record,
bytes and segments on disk; whom it waits for (towpath.readers) and how far they are.)";

inline constexpr const char* topic_delete = R"(
The records are gone, and whoever has a topic open is told so. Of several names, one that fails does not stop the
others.)";

inline constexpr const char* stat = R"(
Columns: BEGIN is the first offset, END the one behind the last record, BYTES the size of the SEGMENTS' files. Counted
since the partition was made: DROPPED offsets that retention removed, ABORTED offsets without a record (the producer
died or gave up, or the segment was closed early), ROLLS segments begun after the first, RECYCLED segments that became
spares, FRESH segments from new files, UNLINKED segments removed, WAITS times a consumer went to sleep (counted in the
first of its partitions). Then who takes part: producers, consumers, maintenance. The least --interval is 10ms.

Examples:
  towpath stat
  towpath stat orders --watch            every second
  towpath stat --format json)";

inline constexpr const char* hz = R"(
Counts what comes from now on and prints a line each second: records and bytes per second, and the shortest, mean and
longest gap between the timestamps of neighbours in a partition. Ends with Ctrl-C.

Examples:
  towpath hz lidar.front
  towpath hz lidar.front -n 10 --format json         ten lines, then end)";

}  // namespace towpath::cli::help
