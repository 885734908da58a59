// One page that both JVMs map: bench/harness.hpp's shared page, barrier and raw line round trip, in Java.
import java.io.RandomAccessFile;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.util.Arrays;

final class SharedPage {
    static final int PING = 0, PONG = 1, ARRIVED = 2, CONSUMED = 3, PRODUCED = 4, RESULTS = 5;
    private static final VarHandle WORD = MethodHandles.byteBufferViewVarHandle(long[].class, ByteOrder.nativeOrder());
    private final MappedByteBuffer page;
    final int side;  // 0 asks or writes, and prints; 1 answers or reads
    private long meetings;

    SharedPage(String path, int side) throws Exception {
        try (RandomAccessFile file = new RandomAccessFile(path, "rw")) {
            page = file.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, 4096);
        }
        this.side = side;
    }

    /** Each word has a line of 64 bytes to itself. */
    long get(int word) {
        return (long) WORD.getAcquire(page, word * 64);
    }

    void set(int word, long value) {
        WORD.setRelease(page, word * 64, value);
    }

    /** Waits until both sides have called it equally often. */
    void meet() {
        ++meetings;
        WORD.getAndAdd(page, ARRIVED * 64, 1L);
        while (get(ARRIVED) < 2 * meetings) Thread.yield();
    }

    /** The median of 1,000 round trips of two lines in ns; both sides call it. */
    long lineRoundTrip() {
        final int rounds = 1000;
        long[] samples = new long[rounds];
        set(side == 0 ? PING : PONG, 0);
        meet();
        int out = side == 0 ? PING : PONG, in = side == 0 ? PONG : PING;
        long before = System.nanoTime();
        for (int i = 1; i <= rounds; ++i) {
            if (side == 0) set(out, i);
            while (get(in) != i) Thread.onSpinWait();
            if (side == 1) set(out, i);
            long now = System.nanoTime();
            samples[i - 1] = now - before;
            before = now;
        }
        meet();
        Arrays.sort(samples);
        return samples[rounds / 2];
    }

    /** Where what lay between two raw round trips ran. */
    static String placement(long before, long after) {
        if (before < 200 && after < 200) return "near";
        return before >= 200 && after >= 200 ? "far" : "mixed";
    }
}
