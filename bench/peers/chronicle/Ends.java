// A writer and a reader of one queue, with the bench's payload and its check: a number, then a pattern of which every
// byte is read (bench/payload.hpp).
import net.openhft.chronicle.bytes.Bytes;
import net.openhft.chronicle.queue.ChronicleQueue;
import net.openhft.chronicle.queue.ExcerptAppender;
import net.openhft.chronicle.queue.ExcerptTailer;
import net.openhft.chronicle.queue.RollCycles;
import net.openhft.chronicle.queue.impl.single.SingleChronicleQueueBuilder;
import net.openhft.chronicle.wire.DocumentContext;

final class Ends {
    // Negative control: record n is never sent.
    private static final long DROPPED = Long.getLong("bench.drop", -1);

    static ChronicleQueue open(String path) {
        return SingleChronicleQueueBuilder.binary(path).rollCycle(RollCycles.FAST_DAILY).blockSize(256L << 20).build();
    }

    static final class Writer {
        private final ExcerptAppender appender;
        private final Bytes<?> payload;

        Writer(ChronicleQueue queue, int size) {
            appender = queue.createAppender();
            payload = Bytes.allocateDirect(size);
            payload.writeLong(0);
            for (int i = 2; i < size / 4; ++i) payload.writeInt(0x9e3779b9 * i);
        }

        void send(long number) {
            if (number == DROPPED) return;
            payload.writeLong(0, number);
            try (DocumentContext context = appender.writingDocument()) {
                context.wire().bytes().write(payload, 0L, payload.writePosition());
            }
        }
    }

    static final class Reader {
        private final ExcerptTailer tailer;
        private final int size;
        private final long sum;

        Reader(ChronicleQueue queue, int size) {
            tailer = queue.createTailer();
            this.size = size;
            Bytes<?> pattern = Bytes.allocateDirect(size);
            pattern.writeLong(0);
            for (int i = 2; i < size / 4; ++i) pattern.writeInt(0x9e3779b9 * i);
            sum = sumOfPattern(pattern, 0);
        }

        /** Reads record `number` if it is there. Ends this process if another record came, or a damaged one. */
        boolean tryReceive(long number) {
            try (DocumentContext context = tailer.readingDocument()) {
                if (!context.isPresent()) return false;
                Bytes<?> bytes = context.wire().bytes();
                long at = bytes.readPosition();
                long came = bytes.readLong(at);
                if (bytes.readRemaining() != size || came != number || sumOfPattern(bytes, at) != sum)
                    Bench.fail("record " + number + " expected, " + came + (came == number ? " came damaged" : " came"));
                return true;
            }
        }

        void receive(long number) {
            while (!tryReceive(number)) Thread.onSpinWait();
        }

        /** Up to 1,024 records; a reader that has caught up stays away a little. Returns the number of the next. */
        long drain(long number) {
            long limit = number + 1024;
            while (number < limit && tryReceive(number)) ++number;
            if (number < limit)
                for (int i = 0; i < 256; ++i) Thread.onSpinWait();
            return number;
        }

        private long sumOfPattern(Bytes<?> bytes, long from) {
            long even = 0, odd = 0;
            int at = 8;
            for (; at + 16 <= size; at += 16) {
                even += bytes.readLong(from + at);
                odd += bytes.readLong(from + at + 8);
            }
            if (size - at >= 8) {
                even += bytes.readLong(from + at);
                at += 8;
            }
            if (at < size) odd += bytes.readUnsignedInt(from + at);
            return even + odd;
        }
    }
}
