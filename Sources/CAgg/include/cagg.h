// What Swift's Glibc module lacks or cannot express; nothing else belongs here.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/file.h>
#include <fcntl.h>
#include <unistd.h>
#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <malloc.h>

/// Large blocks go back to the system when they are freed, at the price of page faults: for a process with a limit.
static inline void agg_return_memory_early(void) {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
  mallopt(M_ARENA_MAX, 2);
#endif
}

/// The first match of `needle` in `haystack`, or NULL (glibc's memmem is hidden from Swift).
static inline const void *agg_memmem(const void *haystack, size_t n, const void *needle, size_t m) {
  return memmem(haystack, n, needle, m);
}
/// open(2) without varargs; returns -errno on failure.
static inline int agg_open(const char *path, int flags, unsigned mode) {
  int fd = open(path, flags, mode);
  return fd < 0 ? -errno : fd;
}
static inline int agg_flock(int fd, int operation) { return flock(fd, operation) < 0 ? -errno : 0; }
static inline int agg_fcntl_int(int fd, int command, int value) { return fcntl(fd, command, value); }

/// Where the stack of the calling function is: for what must not recurse deeper than its thread can bear.
static inline size_t agg_stack_place(void) { return (size_t)__builtin_frame_address(0); }

/// How much stack the calling thread has left; 0 when it cannot be told. Takes microseconds.
static inline size_t agg_stack_left(void) {
  pthread_attr_t attributes;
  void *lowest;
  size_t size;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return 0;
  int failed = pthread_attr_getstack(&attributes, &lowest, &size);
  pthread_attr_destroy(&attributes);
  size_t place = agg_stack_place();
  return failed || place < (size_t)lowest ? 0 : place - (size_t)lowest;
}

/// Unmaps the code of the program and its libraries, which are in the page cache still; under the loader's lock, so that none goes meanwhile.
void agg_release_text(void);

/// A unix socket of `type` (SOCK_DGRAM, SOCK_SEQPACKET) that is bound to a name and listens, or is connected to it. A name that begins
/// with a zero byte is an abstract one. Returns the descriptor, or -errno.
int agg_unix_listen(int type, const void *name, size_t length);
int agg_unix_connect(int type, const void *name, size_t length);
/// The next connection (close-on-exec), or -errno.
int agg_accept(int socket);
/// One message, with a descriptor when that is not -1. Returns the bytes sent, or -errno.
long agg_message_send(int socket, const void *bytes, size_t count, int descriptor);
/// One message and the descriptor that came with it, else -1. Returns the bytes, 0 at the end, or -errno.
long agg_message_receive(int socket, void *bytes, size_t capacity, int *descriptor);
/// The process at the other end of a unix socket. Returns 0, or -errno.
int agg_peer(int socket, int *pid, unsigned *user);

/// Names the calling thread (15 bytes are shown).
static inline void agg_thread_name(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

/// CRC-32C (Castagnoli) of `bytes`, continuing from `crc` (0 to begin); hardware instruction where there is one.
uint32_t agg_crc32c(uint32_t crc, const void *bytes, size_t count);

/// One record of a DNS answer: an address as text, or a service's host.
struct agg_dns_record {
  char name[1026];
  uint16_t priority, weight, port;
};
/// Asks for the SRV records of `name`, or its IPv4 addresses, by the system's resolver or the server at an IPv4 address.
/// Blocks for up to some 8 s. Returns how many of `out` were filled, or -h_errno.
int agg_dns_lookup(const char *name, int wants_service, const char *server, uint16_t port, struct agg_dns_record *out, int capacity);

/// A page shared with a test's driver: see AggCore/Fault/Faults.swift for its words. True when the process is to die here.
static inline int agg_fault_hit(uint64_t *page, int point) {
  __atomic_fetch_add(&page[64 + point], 1, __ATOMIC_RELAXED);
  if (__atomic_load_n(&page[1], __ATOMIC_RELAXED) != (uint64_t)point + 1) return 0;
  return __atomic_fetch_sub(&page[2], 1, __ATOMIC_RELAXED) == 1;
}
static inline void agg_fault_add(uint64_t *page, int word, int64_t n) { __atomic_fetch_add(&page[word], (uint64_t)n, __ATOMIC_RELAXED); }
/// Whether the next hit of the point is the last.
static inline int agg_fault_armed(const uint64_t *page, int point) {
  return __atomic_load_n(&page[1], __ATOMIC_RELAXED) == (uint64_t)point + 1 && __atomic_load_n(&page[2], __ATOMIC_RELAXED) == 1;
}
/// The errno with which this call is to fail, or 0. Words: 16 kinds as bits, 17 errno, 18 calls that pass before, 19 calls that fail,
/// 24..39 a text that the path must hold (none: any path).
static inline int agg_fault_error(uint64_t *page, int kind, const char *path) {
  if (!(__atomic_load_n(&page[16], __ATOMIC_ACQUIRE) >> kind & 1)) return 0;
  if (!strstr(path, (const char *)&page[24])) return 0;
  int64_t left = (int64_t)__atomic_fetch_sub(&page[18], 1, __ATOMIC_RELAXED);
  int64_t times = (int64_t)__atomic_load_n(&page[19], __ATOMIC_RELAXED);
  return left <= 0 && -left < times ? (int)page[17] : 0;
}
