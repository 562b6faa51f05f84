// Tells ThreadSanitizer what Swift's Mutex does when several threads want it at once.
//
// The quick way of a Mutex is inlined into instrumented code; the slow one is in libswiftSynchronization, which is not instrumented, and
// the kernel hands the lock over there. Without this every contended Mutex looks like a race of what it guards. Preloaded by
// Tests/sanitize into what it runs; in a process without ThreadSanitizer it only passes the calls on.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context))

extern void __tsan_acquire(void *) __attribute__((weak));
extern void __tsan_release(void *) __attribute__((weak));

// Synchronization._MutexHandle._lockSlow(UInt32), and _unlockSlow(): their mangled names are part of Swift's ABI.
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"
typedef SWIFT void (*lock_function)(uint32_t, SELF void *);
typedef SWIFT void (*unlock_function)(SELF void *);

SWIFT void lock_slow(uint32_t thread, SELF void *mutex) __asm__(LOCK);
SWIFT void unlock_slow(SELF void *mutex) __asm__(UNLOCK);

SWIFT void lock_slow(uint32_t thread, SELF void *mutex) {
  static lock_function next;
  lock_function found = __atomic_load_n(&next, __ATOMIC_ACQUIRE);
  if (!found) {
    found = (lock_function)dlsym(RTLD_NEXT, LOCK);
    __atomic_store_n(&next, found, __ATOMIC_RELEASE);
  }
  found(thread, mutex);
  if (__tsan_acquire) __tsan_acquire(mutex);
}

SWIFT void unlock_slow(SELF void *mutex) {
  static unlock_function next;
  unlock_function found = __atomic_load_n(&next, __ATOMIC_ACQUIRE);
  if (!found) {
    found = (unlock_function)dlsym(RTLD_NEXT, UNLOCK);
    __atomic_store_n(&next, found, __ATOMIC_RELEASE);
  }
  if (__tsan_release) __tsan_release(mutex);
  found(mutex);
}
