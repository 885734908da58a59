// Chronicle Queue, measured as the other systems are: two processes (JVMs), one pinned to each core by the script run
// beside this, the loops of bench/latency.hpp and bench/stream.hpp, one queue per direction in --dir. Tuned: blocks of
// 256 MiB, FAST_DAILY rolls, no allocation per record, a spinning tailer, a warm-up long enough for the compiler. Time is
// System.nanoTime, which adds about 20 ns to a round trip.
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import net.openhft.chronicle.queue.ChronicleQueue;

public final class Bench {
    private static final long OVER = 1L << 63, WINDOW = 100_000, ROOM_BYTES = 4_000_000_000L;
    private final SharedPage page;
    private final String folder;
    private final boolean quick;
    private final double seconds;

    private Bench(String[] words) throws Exception {
        folder = words[2];
        page = new SharedPage(folder + "/page", Integer.parseInt(words[0]));
        seconds = Double.parseDouble(words[3]);
        quick = words[4].equals("quick");
    }

    /** SIDE GROUP FOLDER SECONDS quick|full */
    public static void main(String[] words) throws Exception {
        Bench bench = new Bench(words);
        String group = words[1];
        int size = group.endsWith("1k") ? 1024 : group.endsWith("32") ? 32 : 100;
        if (group.startsWith("rtt")) bench.roundTrips(group, size);
        else if (group.startsWith("append")) bench.append(group, size);
        else bench.stream(group, size, group.startsWith("sustained"));
    }

    static void fail(String what) {
        System.out.flush();
        System.err.println("bench: " + what);
        Runtime.getRuntime().halt(1);
    }

    private static void print(String measure, double value, String unit, String where) {
        System.out.printf("%s\t%.6g\t%s\t%s%n", measure, value, unit, where);
    }

    private void roundTrips(String group, int size) {
        int parts = quick ? 8 : 40, rounds = 5000, warm = 200;
        long[][] samples = new long[2][parts * rounds];
        int[] filled = new int[2];
        try (ChronicleQueue there = Ends.open(folder + "/there"); ChronicleQueue back = Ends.open(folder + "/back")) {
            Ends.Writer writer = new Ends.Writer(page.side == 0 ? there : back, size);
            Ends.Reader reader = new Ends.Reader(page.side == 0 ? back : there, size);
            page.meet();
            long number = 0;
            for (int part = -4; part < parts; ++part) {  // four parts for the compiler
                long[] of = new long[rounds];
                long before = page.lineRoundTrip(), last = 0;
                for (int i = 0; i < warm + rounds; ++i, ++number) {
                    if (page.side == 0) writer.send(number);
                    reader.receive(number);
                    if (page.side == 1) writer.send(number);
                    long now = System.nanoTime();
                    if (i >= warm) of[i - warm] = now - last;
                    last = now;
                }
                String where = SharedPage.placement(before, page.lineRoundTrip());
                if (part < 0 || where.equals("mixed")) continue;
                int at = where.equals("near") ? 0 : 1;
                System.arraycopy(of, 0, samples[at], filled[at], rounds);
                filled[at] += rounds;
            }
            page.meet();
        }
        if (page.side == 0) printPercentiles(group, samples, filled);
    }

    private static void printPercentiles(String group, long[][] samples, int[] filled) {
        if (filled[0] + filled[1] == 0) fail("the cores moved during every part of the measurement");
        for (int at = 0; at < 2; ++at) Arrays.sort(samples[at], 0, filled[at]);
        String[] names = {"_p50", "_p99", "_p999", "_p9999"};
        double[] shares = {0.5, 0.99, 0.999, 0.9999};
        for (int i = 0; i < names.length; ++i) {
            boolean printed = false;
            for (int at = 0; at < 2; ++at) {
                if (filled[at] * (1 - shares[i]) < 9.99) continue;
                print(group + names[i], samples[at][(int) (shares[i] * (filled[at] - 1) + 0.5)], "ns",
                      at == 0 ? "near" : "far");
                printed = true;
            }
            if (!printed) System.out.println("# " + group + names[i] + " skipped: there are too few samples");
        }
    }

    /** A sender alone; afterwards everything is read and checked. */
    private void append(String group, int size) {
        if (page.side == 1) return;
        long count = 300_000_000L / size / (quick ? 10 : 1);
        try (ChronicleQueue queue = Ends.open(folder + "/append")) {
            Ends.Writer writer = new Ends.Writer(queue, size);
            for (long i = 0; i < count / 2; ++i) writer.send(i);
            long start = System.nanoTime();
            for (long i = 0; i < count; ++i) writer.send(count / 2 + i);
            double rate = count * 1e9 / (System.nanoTime() - start);
            Ends.Reader reader = new Ends.Reader(queue, size);
            for (long i = 0; i < count / 2 + count; ++i)
                if (!reader.tryReceive(i)) fail("the queue lost records");
            print(group, rate, "records/s", "any");
        }
    }

    private static double processorNanoseconds() {
        var bean = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return bean.getProcessCpuTime();
    }

    private void stream(String group, int size, boolean sustained) {
        long burst = 200_000_000L / size / (quick ? 10 : 1);
        long warm = sustained ? 0 : burst / 2, most = sustained ? ROOM_BYTES / (size + 8) : warm + burst;
        try (ChronicleQueue queue = Ends.open(folder + "/stream")) {
            if (page.side == 0) {
                Ends.Writer writer = new Ends.Writer(queue, size);
                page.meet();
                long before = page.lineRoundTrip();
                double used = write(writer, warm, most, sustained);
                String where = SharedPage.placement(before, page.lineRoundTrip());
                page.meet();
                printStream(group, sustained, used, where, most);
            } else {
                page.meet();
                Ends.Reader reader = new Ends.Reader(queue, size);
                page.lineRoundTrip();
                read(reader, warm);
                page.lineRoundTrip();
                page.meet();
            }
        }
    }

    private double result(int slot) {
        return Double.longBitsToDouble(page.get(SharedPage.RESULTS + slot));
    }

    private void report(int slot, double value) {
        page.set(SharedPage.RESULTS + slot, Double.doubleToLongBits(value));
    }

    /** Returns the processor time of the timed part in ns. */
    private double write(Ends.Writer writer, long warm, long most, boolean sustained) {
        long sequence = 0, start = 0;
        double before = 0;
        for (; sequence < most; ++sequence) {
            if (sequence % 256 == 0) {
                while (sequence - page.get(SharedPage.CONSUMED) > WINDOW) Thread.onSpinWait();
                if (start == 0 && sequence >= warm) {
                    before = processorNanoseconds();
                    start = System.nanoTime();
                }
                if (sustained && System.nanoTime() - start > seconds * 1e9) break;
            }
            writer.send(sequence);
        }
        double used = processorNanoseconds() - before;
        page.set(SharedPage.PRODUCED, sequence | OVER);
        return used;
    }

    private void read(Ends.Reader reader, long warm) {
        long next = 0, start = 0, first = 0, windowStart = 0, windowFirst = 0, found = 0, stall = 0;
        double worst = -1, before = 0;
        for (;;) {
            long from = next;
            next = reader.drain(next);
            page.set(SharedPage.CONSUMED, next);
            long now = System.nanoTime();
            if (start == 0 && next >= warm) {
                before = processorNanoseconds();
                start = windowStart = found = now;
                first = windowFirst = next;
            } else if (start != 0) {
                if (next != from) {
                    stall = Math.max(stall, now - found);
                    found = now;
                }
                if (now - windowStart >= 100_000_000L) {
                    double rate = (next - windowFirst) * 1e9 / (now - windowStart);
                    worst = worst < 0 ? rate : Math.min(worst, rate);
                    windowStart = now;
                    windowFirst = next;
                }
            }
            long end = page.get(SharedPage.PRODUCED);
            if (end == 0 || next != (end & ~OVER)) continue;
            if (next <= first) fail("the stream was shorter than its warm-up");
            report(0, (next - first) * 1e9 / (now - start));
            report(1, worst);
            report(2, stall * 1e-6);
            report(3, processorNanoseconds() - before);
            report(4, next - first);
            return;
        }
    }

    private void printStream(String group, boolean sustained, double used, String where, long most) {
        print(group, result(0), "records/s", where);
        if (!sustained) {
            print(group + "_cpu", (used + result(3)) / result(4), "ns", "any");
            return;
        }
        if (result(1) >= 0) print(group + "_worst", result(1), "records/s", "any");
        else System.out.println("# " + group + "_worst skipped: the stream lasted less than 100 ms");
        print(group + "_stall", result(2), "ms", "any");
        if ((page.get(SharedPage.PRODUCED) & ~OVER) == most)
            System.out.printf("# %s chronicle ended early: it keeps all of its history, and %.0f GB were written%n", group,
                              ROOM_BYTES * 1e-9);
    }
}
