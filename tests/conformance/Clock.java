package conformance;

/** The times of one run of the suite, in ms: those of its records, and those brokers' clocks give. */
record Clock(long start) {
    private static final long MINUTE = 60_000;

    static Clock now() {
        return new Clock(System.currentTimeMillis());
    }

    /** Where the times of records are: well away from what a broker's clock gives. */
    long records() {
        return start - 30 * MINUTE;
    }

    boolean ofRecords(long time) {
        return Math.abs(time - records()) < 10 * MINUTE;
    }

    boolean ofBroker(long time) {
        return time > start - MINUTE && time < start + 20 * MINUTE;
    }
}
