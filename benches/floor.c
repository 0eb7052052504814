// The machine's floor under a broker: what its sockets, its CRC instruction and its disk give when
// there is nothing else. `scripts/compare` builds and runs it:
//
//   cc -O3 -msse4.2 floor.c -o floor
//   floor stream FILE BATCH_KIB MEGABYTES CONSUMERS DIRECT
//       loopback socket -> CRC32C -> preallocated file -> fdatasync -> one byte of answer a batch,
//       five batches in flight; with CONSUMERS = 1 each batch is also sent to a reader.
//       DIRECT = 1 opens the file with O_DIRECT.
//   floor sync FILE RATE SECONDS
//       so many 4 KiB writes a second, each with an fdatasync, timed from when it was due.
//
// One line of JSON; CPU is that of the serving process alone.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nmmintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RING = 64 << 20, IN_FLIGHT = 5 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_utime.tv_usec * 1e-6 + u.ru_stime.tv_sec + u.ru_stime.tv_usec * 1e-6;
}

static void must(int right, const char *what) {
    if (!right) {
        perror(what);
        exit(1);
    }
}

static void send_all(int socket, const char *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t sent = write(socket, bytes + done, length - done);
        must(sent > 0, "write to a socket");
        done += sent;
    }
}

static void receive_all(int socket, char *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t got = read(socket, bytes + done, length - done);
        must(got > 0, "read from a socket");
        done += got;
    }
}

static int join(const struct sockaddr_in *address) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    must(connect(s, (const void *)address, sizeof *address) == 0, "connect");
    return s;
}

static void produce(const struct sockaddr_in *address, size_t batch, size_t batches) {
    int s = join(address);
    char *bytes = malloc(batch), answers[4096];
    memset(bytes, 7, batch);
    size_t answered = 0;
    for (size_t sent = 0; answered < batches;) {
        if (sent < batches && sent - answered < IN_FLIGHT) {
            send_all(s, bytes, batch);
            sent++;
            continue;
        }
        ssize_t got = read(s, answers, sizeof answers);
        must(got > 0, "read an answer");
        answered += got;
    }
    _exit(0);
}

static void consume(const struct sockaddr_in *address) {
    int s = join(address);
    char *bytes = malloc(1 << 20);
    while (read(s, bytes, 1 << 20) > 0) {
    }
    _exit(0);
}

// Three streams at once: one alone waits three cycles for each result.
static uint32_t crc(const char *bytes, size_t length) {
    uint64_t a = 0, b = 0, c = 0;
    const uint64_t *words = (const void *)bytes;
    size_t third = length / 24;
    for (size_t i = 0; i < third; i++) {
        a = _mm_crc32_u64(a, words[i]);
        b = _mm_crc32_u64(b, words[i + third]);
        c = _mm_crc32_u64(c, words[i + 2 * third]);
    }
    return a ^ b ^ c;
}

// A file of RING bytes that has all its blocks.
static int preallocated(const char *path, char *bytes, int direct) {
    int file = open(path, O_RDWR | O_CREAT | (direct ? O_DIRECT : 0), 0600);
    must(file >= 0, path);
    for (size_t at = 0; at < RING; at += 1 << 20) must(pwrite(file, bytes, 1 << 20, at) == 1 << 20, "preallocate");
    must(fsync(file) == 0, "fsync");
    return file;
}

static void stream(const char *path, size_t batch, size_t megabytes, int consumers, int direct) {
    size_t batches = megabytes * 1000000 / batch;
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, reader = -1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    must(bind(listener, (void *)&address, length) == 0 && listen(listener, 8) == 0, "listen");
    getsockname(listener, (void *)&address, &length);
    char *ring;
    must(posix_memalign((void **)&ring, 4096, RING) == 0, "memory");
    memset(ring, 1, RING);
    int file = preallocated(path, ring, direct);
    if (!fork()) produce(&address, batch, batches);
    int producer = accept(listener, 0, 0);
    setsockopt(producer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (consumers) {
        if (!fork()) consume(&address);
        reader = accept(listener, 0, 0);
    }
    double began = now(), cpu_before = cpu();
    uint32_t all = 0;
    for (size_t i = 0; i < batches; i++) {
        size_t at = i * batch % RING;
        char *bytes = ring + at, answer = 1;
        receive_all(producer, bytes, batch);
        all ^= crc(bytes, batch);
        must(pwrite(file, bytes, batch, at) == (ssize_t)batch && fdatasync(file) == 0, "write and sync");
        send_all(producer, &answer, 1);
        if (reader >= 0) send_all(reader, bytes, batch);
    }
    double seconds = now() - began, used = cpu() - cpu_before, bytes = (double)batches * batch;
    printf("{\"megabytes_per_second\": %.1f, \"cpu_s_per_gb\": %.3f, \"crc\": %u}\n", bytes / 1e6 / seconds,
           used / (bytes / 1e9), all);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sync_at(const char *path, double rate, double seconds) {
    size_t count = rate * seconds;
    double *took = malloc(count * sizeof *took);
    char *bytes;
    must(took && posix_memalign((void **)&bytes, 4096, 1 << 20) == 0, "memory");
    memset(bytes, 1, 1 << 20);
    int file = preallocated(path, bytes, 0);
    double began = now();
    for (size_t i = 0; i < count; i++) {
        double due = began + i / rate, left = due - now();
        if (left > 0) {
            struct timespec pause = {.tv_sec = left, .tv_nsec = (left - (long)left) * 1e9};
            nanosleep(&pause, 0);
        }
        must(pwrite(file, bytes, 4096, i * 4096 % RING) == 4096 && fdatasync(file) == 0, "write and sync");
        took[i] = (now() - due) * 1e3;
    }
    qsort(took, count, sizeof *took, by_size);
    printf("{\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}\n", took[count / 2], took[count * 99 / 100],
           took[count - 1]);
}

int main(int count, char **given) {
    if (count == 7 && !strcmp(given[1], "stream")) {
        stream(given[2], (size_t)atoi(given[3]) << 10, atoi(given[4]), atoi(given[5]), atoi(given[6]));
    } else if (count == 5 && !strcmp(given[1], "sync")) {
        sync_at(given[2], atof(given[3]), atof(given[4]));
    } else {
        fprintf(stderr, "usage: the head of floor.c\n");
        return 2;
    }
    unlink(given[2]);
    return 0;
}
