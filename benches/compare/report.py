"""From raw figures to a table, targets and plots."""

import statistics

KAFKA, OURS, FLOOR = "Apache Kafka", "Strandline", "floor"


class Results:
    """Figures by row, broker and round."""

    def __init__(self, rows):
        self.rows = rows

    def values(self, row, broker, metric):
        rounds = self.rows.get(row, {}).get(broker, [])
        return [figures[metric] for figures in rounds if metric in figures]

    def median(self, row, broker, metric):
        values = self.values(row, broker, metric)
        return statistics.median(values) if values else None


def shown(number):
    if number is None:
        return "-"
    size = abs(number)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or size == 0 else 3
    return f"{number:,.{digits}f}"


def with_spread(values):
    if not values:
        return "-"
    middle = shown(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({shown(min(values))}–{shown(max(values))})"


# Row, metric, how it is called.
TABLE = [
    ("produce-1", "mb_per_second", "produce, 1 partition, MB/s"),
    ("produce-16", "mb_per_second", "produce, 16 partitions, MB/s"),
    ("produce-1", "cpu_s_per_gb", "produce, 1 partition, broker CPU s/GB"),
    ("produce-16", "cpu_s_per_gb", "produce, 16 partitions, broker CPU s/GB"),
    ("produce-1-uploads", "mb_per_second", "produce with uploads on, 1 partition, MB/s"),
    ("produce-16-uploads", "mb_per_second", "produce with uploads on, 16 partitions, MB/s"),
    ("produce-1-uploads", "cpu_s_per_gb", "produce with uploads on, 1 partition, broker CPU s/GB"),
    ("produce-16-uploads", "cpu_s_per_gb", "produce with uploads on, 16 partitions, broker CPU s/GB"),
    ("consume-1", "mb_per_second", "consume from the tail, 1 partition, MB/s"),
    ("consume-16", "mb_per_second", "consume from the tail, 16 partitions, MB/s"),
    ("consume-1", "cpu_s_per_gb", "consume from the tail, 1 partition, broker CPU s/GB"),
    ("consume-16", "cpu_s_per_gb", "consume from the tail, 16 partitions, broker CPU s/GB"),
    ("ack-500", "p50_ms", "ack at 500/s, p50 ms"),
    ("ack-500", "p99_ms", "ack at 500/s, p99 ms"),
    ("ack-5000", "p50_ms", "ack at 5,000/s, p50 ms"),
    ("ack-5000", "p99_ms", "ack at 5,000/s, p99 ms"),
    ("ack-5000", "cores", "ack at 5,000/s, cores the broker keeps busy"),
    ("uploads", "p99_ms uploads off", "ack beside 40 MB/s that stay in the WAL, p99 ms"),
    ("uploads", "p99_ms uploads on", "ack beside 40 MB/s that are uploaded, p99 ms"),
    ("isolation", "p99_ms alone", "ack at 500/s alone, p99 ms"),
    ("isolation", "p99_ms beside", "ack at 500/s beside 50 consumers of old records, p99 ms"),
    ("isolation", "replay mb_per_second", "those 50 together, MB/s"),
    ("isolation", "slowest by fastest", "the slowest of them ÷ the fastest"),
    ("librdkafka", "produce mb_per_second", "produce by librdkafka from Python, 1 partition, MB/s"),
    ("librdkafka", "consume mb_per_second", "consume by librdkafka from Python, 1 partition, MB/s"),
    ("librdkafka", "cpu_s_per_gb", "both together, broker CPU s/GB"),
    ("many", "cpu_s_per_gb one", "16 KiB batches, 1 connection, 1 partition, broker CPU s/GB"),
    ("many", "cpu_s_per_gb connections", "16 KiB batches, 1,000 connections, broker CPU s/GB"),
    ("many", "cpu_s_per_gb partitions", "16 KiB batches, 1,000 partitions, broker CPU s/GB"),
    ("many", "mb_per_second one", "16 KiB batches, 1 connection, 1 partition, MB/s"),
    ("many", "mb_per_second connections", "16 KiB batches, 1,000 connections, MB/s"),
    ("many", "mb_per_second partitions", "16 KiB batches, 1,000 partitions, MB/s"),
    ("replay", "mb_per_second", "replay from S3, cold, MB/s"),
    ("replay", "mb_per_second of object_store", "parallel ranged GETs of the same bytes, MB/s"),
    ("replay-paced", "mb_per_second", "replay from S3 at 15 ms and 90 MB/s a request, cold, MB/s"),
    ("replay-paced", "mb_per_second of object_store", "parallel ranged GETs of the same bytes, paced so, MB/s"),
    ("replay-paced", "GET per GB", "bucket GETs per GB replayed"),
    ("produce-1-uploads", "PUT data per GB", "bucket PUTs of records per GB produced, 1 partition"),
    ("produce-16-uploads", "PUT data per GB", "bucket PUTs of records per GB produced, 16 partitions"),
    ("produce-16-uploads", "PUT meta per GB", "bucket PUTs of metadata per GB produced"),
    ("budget", "rss_mb", "resident after produce, consume and acks, a budget of 200 MB, MB"),
    ("budget", "highest rss_mb", "the most resident during them, MB"),
    ("after", "rss_mb", "resident after all rows above, default budget, MB"),
    ("idle", "rss_mb", "resident idle, MB"),
    ("idle", "start_s", "start to first ack, s"),
    ("idle", "rss_mb of 1,000 connections", "1,000 idle connections, MB"),
    ("idle", "cores of 1,000 connections", "1,000 idle connections, cores"),
    ("idle", "create_s of 10,000 partitions", "creation of 10,000 partitions, s"),
    ("idle", "rss_mb of 10,000 partitions", "10,000 idle partitions, MB"),
    ("idle", "cores of 10,000 partitions", "10,000 idle partitions, cores"),
    ("restart", "64 MiB", "kill -9 with 64 MiB in the WAL to the next ack, s"),
    ("restart", "256 MiB", "kill -9 with 256 MiB in the WAL to the next ack, s"),
    ("restart", "1024 MiB", "kill -9 with 1,024 MiB in the WAL to the next ack, s"),
]


def table(results):
    lines = ["| | Apache Kafka 4.3.1 | floor | Strandline | ÷ Kafka |", "|---|--:|--:|--:|--:|"]
    for row, metric, name in TABLE:
        columns = [results.values(row, broker, metric) for broker in (KAFKA, FLOOR, OURS)]
        if not any(columns):
            continue
        kafka, ours = (results.median(row, broker, metric) for broker in (KAFKA, OURS))
        ratio = f"{shown(ours / kafka)} ×" if kafka and ours is not None else "-"
        lines.append("| " + " | ".join([name, *map(with_spread, columns), ratio]) + " |")
    return lines


def goals(results):
    """Name, figure, at most or at least, limit; figure or limit may be unknown."""
    ours = lambda row, metric: results.median(row, OURS, metric)
    kafka = lambda row, metric: results.median(row, KAFKA, metric)
    floor = lambda row, metric: results.median(row, FLOOR, metric)

    def times(factor, value):
        return None if value is None else factor * value

    for partitions in (1, 16):
        row = f"produce-{partitions}"
        mb, cpu = "mb_per_second", "cpu_s_per_gb"
        at = f"{partitions} partition" + "s" * (partitions > 1)
        yield f"produce, {at}: MB/s at least 1.3 × Kafka's", ours(row, mb), ">=", times(1.3, kafka(row, mb))
        yield f"produce, {at}: CPU at most half of Kafka's", ours(row, cpu), "<=", times(0.5, kafka(row, cpu))
        lowest = times(1.5, floor("produce-1", cpu))
        yield f"produce, {at}: CPU at most 1.5 × the floor's", ours(row, cpu), "<=", lowest
        with_uploads, without = ours(f"{row}-uploads", cpu), ours(row, cpu)
        added = None if None in (with_uploads, without) else with_uploads - without
        yield f"produce, {at}: uploads add at most 0.5 CPU s/GB", added, "<=", 0.5
        row = f"consume-{partitions}"
        yield f"consume, {at}: MB/s at least Kafka's", ours(row, mb), ">=", kafka(row, mb)
        yield f"consume, {at}: CPU at most half of Kafka's", ours(row, cpu), "<=", times(0.5, kafka(row, cpu))
    yield "ack at 500/s: p50 at most Kafka's", ours("ack-500", "p50_ms"), "<=", kafka("ack-500", "p50_ms")
    yield "ack at 500/s: p99 at most Kafka's", ours("ack-500", "p99_ms"), "<=", kafka("ack-500", "p99_ms")
    yield "ack at 5,000/s: p50 at most 1 ms", ours("ack-5000", "p50_ms"), "<=", 1.0
    yield "ack at 5,000/s: p99 at most 5 ms", ours("ack-5000", "p99_ms"), "<=", 5.0
    tenth = times(0.1, kafka("ack-5000", "p99_ms"))
    yield "ack at 5,000/s: p99 at most a tenth of Kafka's", ours("ack-5000", "p99_ms"), "<=", tenth
    yield "uploads: p99 of acks at most 1.2 × without", ours("uploads", "ratio"), "<=", 1.2
    yield "50 cold consumers: p99 of acks at most 1.2 × alone", ours("isolation", "ratio"), "<=", 1.2
    yield "50 cold consumers: the slowest at least half as fast as the fastest", (
        ours("isolation", "slowest by fastest")), ">=", 0.5
    yield "1,000 connections: CPU a byte at most 1.3 ×", ours("many", "cpu ratio connections"), "<=", 1.3
    yield "1,000 partitions: CPU a byte at most 1.3 ×", ours("many", "cpu ratio partitions"), "<=", 1.3
    resident = ours("budget", "rss_mb") if ours("budget", "budget set") else None
    yield "resident after the runs, budget of 200 MB: at most 200 MB", resident, "<=", 200
    yield "resident idle: at most 30 MB", ours("idle", "rss_mb"), "<=", 30
    yield "start to first ack: at most 0.3 s", ours("idle", "start_s"), "<=", 0.3
    yield "replay from S3: at least 0.8 of object_store", ours("replay", "ratio"), ">=", 0.8
    yield "replay from S3, paced: at least 0.8 of object_store", ours("replay-paced", "ratio"), ">=", 0.8


def missed(value, limit, sign):
    if sign == ">=":
        return f"{1 - value / limit:.0%}"
    over = value / limit
    return f"{over - 1:.0%}" if over < 3 else f"a factor of {over:.0f}"


def targets(results):
    lines = ["| target | limit | measured | |", "|---|--:|--:|---|"]
    for name, value, sign, limit in goals(results):
        if value is None or limit is None:
            continue
        met = value <= limit if sign == "<=" else value >= limit
        verdict = "met" if met else f"**missed by {missed(value, limit, sign)}**"
        lines.append(f"| {name} | {shown(limit)} | {shown(value)} | {verdict} |")
    return lines


def plot(results, title, rows):
    """Bars of medians with whiskers from least to most, one group a row; for light and dark."""
    groups = []
    for row, metric, name in rows:
        bars = [(broker, results.values(row, broker, metric)) for broker in (KAFKA, OURS, FLOOR)]
        bars = [(broker, values) for broker, values in bars if values]
        if bars:
            groups.append((name, bars))
    left, width, height, y = 250, 820, 14, 52
    body = []
    for name, bars in groups:
        most = max(max(values) for _, values in bars)
        scale = (width - left - 120) / most if most else 0
        middle = y + len(bars) * (height + 3) / 2
        body.append(f'<text class="ink" x="{left - 10}" y="{middle + 3:.0f}" text-anchor="end">{name}</text>')
        for broker, values in bars:
            length = statistics.median(values) * scale
            kind = {KAFKA: "kafka", OURS: "ours", FLOOR: "floor"}[broker]
            body.append(f'<rect class="{kind}" x="{left}" y="{y}" width="{length:.1f}" height="{height}" rx="2"/>')
            low, high = (left + end(values) * scale for end in (min, max))
            line = y + height / 2
            body.append(f'<path class="range" d="M{low:.1f} {line}H{high:.1f}M{low:.1f} {line - 3}v6M{high:.1f} {line - 3}v6"/>')
            body.append(f'<text class="ink small" x="{high + 7:.1f}" y="{y + 11}">{shown(statistics.median(values))}</text>')
            y += height + 3
        y += 12
    legend = []
    for at, (kind, label) in enumerate((("kafka", KAFKA), ("ours", OURS), ("floor", "floor.c"))):
        x = left + at * 130
        legend.append(f'<rect class="{kind}" x="{x}" y="28" width="10" height="10" rx="2"/>'
                      f'<text class="ink small" x="{x + 15}" y="37">{label}</text>')
    style = (
        "text{font:12px system-ui,sans-serif}.small{font-size:11px}.title{font-size:14px;font-weight:600}"
        ".ink{fill:#1f2328}.kafka{fill:#9aa4b0}.ours{fill:#1f7a8c}.floor{fill:#d9a441}"
        ".range{stroke:#1f2328;stroke-opacity:.55;fill:none}"
        "@media (prefers-color-scheme:dark){.ink{fill:#e6edf3}.kafka{fill:#6b7683}.ours{fill:#4fb3c8}"
        ".floor{fill:#c9963a}.range{stroke:#e6edf3}}"
    )
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" height="{y}" role="img">',
        f"<title>{title}</title><style>{style}</style>",
        f'<text class="ink title" x="{left}" y="18">{title}</text>',
        *legend, *body, "</svg>", "",
    ])


PLOTS = {
    "throughput": ("Throughput, MB/s (more is better)", [
        ("produce-1", "mb_per_second", "produce, 1 partition"),
        ("produce-16", "mb_per_second", "produce, 16 partitions"),
        ("produce-16-uploads", "mb_per_second", "the same with uploads on"),
        ("consume-1", "mb_per_second", "consume, 1 partition"),
        ("consume-16", "mb_per_second", "consume, 16 partitions"),
    ]),
    "cpu": ("Broker CPU, seconds per GB (less is better)", [
        ("produce-1", "cpu_s_per_gb", "produce, 1 partition"),
        ("produce-16", "cpu_s_per_gb", "produce, 16 partitions"),
        ("produce-16-uploads", "cpu_s_per_gb", "the same with uploads on"),
        ("consume-1", "cpu_s_per_gb", "consume, 1 partition"),
        ("consume-16", "cpu_s_per_gb", "consume, 16 partitions"),
    ]),
    "latency": ("Acknowledgement, milliseconds (less is better)", [
        ("ack-500", "p50_ms", "500/s, p50"),
        ("ack-500", "p99_ms", "500/s, p99"),
        ("ack-5000", "p50_ms", "5,000/s, p50"),
        ("ack-5000", "p99_ms", "5,000/s, p99"),
        ("isolation", "p99_ms beside", "500/s beside 50 replays, p99"),
    ]),
}

BEGIN, END = "<!-- scripts/compare writes from here -->", "<!-- to here -->"


def document(results, run):
    """What stands between the marks of docs/performance.md."""
    machine = run["machine"]
    warm = "each after one round that is thrown away" if run["warm_up"] else "none thrown away before"
    lines = [
        f"Measured {run['date']} on {machine['cores']} cores ({machine['cpu']}), {machine['memory_gb']} GB, "
        f"Linux {machine['kernel']}; load when it began {machine['load_at_start']}. "
        f"Medians of {run['rounds']} interleaved rounds (least–most), {warm}; "
        f"memory cgroups: {run['cgroups']}; real-time priority: {'yes' if run['real_time'] else 'no'}.",
        "",
        *[f"![{PLOTS[name][0]}](performance/{name}.svg)\n" for name in PLOTS],
        "## Targets", "", *targets(results), "",
        "## Figures", "", *table(results), "",
        "Raw figures: [performance/results.json](performance/results.json).",
    ]
    return "\n".join(lines)


def into(text, part):
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{part}\n{END}{after}"
