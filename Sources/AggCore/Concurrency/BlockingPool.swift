import CAgg
import Glibc
import Synchronization

/// Threads that may block: file I/O, name look-ups, waiting for children. Runs tasks that prefer it (`TaskExecutor`).
///
/// The cooperative pool has one thread a core: two stuck writes there would stop timers, signals and every output.
/// A thread is started when work arrives and none is idle, and ends after `idleSeconds` without work.
public final class BlockingPool: TaskExecutor, Sendable {
  private static let idleSeconds = 10
  /// More than this many wait in line: each costs stack pages, and no host has that many busy disks.
  private static let maximumThreads = 256

  private let shared: Shared

  /// Protected by its own mutex; a condition variable needs the pthread pair, which Mutex is not.
  private final class Shared: @unchecked Sendable {
    var mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    var condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    var queue: [Work] = []
    var head = 0
    var idle = 0
    var threads = 0
    init() {
      pthread_mutex_init(mutex, nil)
      var attributes = pthread_condattr_t()
      pthread_condattr_init(&attributes)
      pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
      pthread_cond_init(condition, &attributes)
    }
  }
  private enum Work {
    case job(UnownedJob, UnownedTaskExecutor)
    case closure(@Sendable () -> Void)
  }

  public init() { shared = Shared() }

  /// Whether the calling thread is one of a pool's, and so may block.
  public static var isCurrent: Bool { pthread_getspecific(poolKey) != nil }

  public func enqueue(_ job: consuming ExecutorJob) {
    push(.job(UnownedJob(job), asUnownedTaskExecutor()))
  }
  /// Runs `body` on a thread of the pool.
  public func run(_ body: @escaping @Sendable () -> Void) { push(.closure(body)) }

  /// Runs blocking work from anywhere and waits for it without blocking a cooperative thread.
  public func callAsFunction<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    if Self.isCurrent { return try body() }
    return try await withCheckedThrowingContinuation { continuation in
      run { continuation.resume(with: Result { try body() }) }
    }
  }

  private func push(_ work: Work) {
    let s = shared
    pthread_mutex_lock(s.mutex)
    s.queue.append(work)
    let waiting = s.queue.count - s.head
    if s.idle >= waiting || s.threads >= Self.maximumThreads {
      pthread_cond_signal(s.condition)
      pthread_mutex_unlock(s.mutex)
      return
    }
    s.threads += 1
    pthread_mutex_unlock(s.mutex)
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 512 << 10)
    let context = Unmanaged.passRetained(s)
    let failed = pthread_create(&thread, &attributes, { argument in
      if let argument { BlockingPool.loop(Unmanaged<Shared>.fromOpaque(argument).takeRetainedValue()) }
      return nil
    }, context.toOpaque())
    pthread_attr_destroy(&attributes)
    if failed != 0 {
      // The work stays queued for the threads there are; without any, nothing could ever run again.
      context.release()
      pthread_mutex_lock(s.mutex)
      s.threads -= 1
      precondition(s.threads > 0, "no thread can be started")
      pthread_mutex_unlock(s.mutex)
    }
  }

  private static func loop(_ s: Shared) {
    pthread_setspecific(poolKey, UnsafeRawPointer(bitPattern: 1))
    agg_thread_name("agg-io")
    pthread_mutex_lock(s.mutex)
    while true {
      if s.head < s.queue.count {
        let work = s.queue[s.head]
        s.head += 1
        if s.head == s.queue.count || s.head > 1024 {
          s.queue.removeFirst(s.head)
          s.head = 0
        }
        pthread_mutex_unlock(s.mutex)
        switch work {
        case .job(let job, let executor): job.runSynchronously(on: executor)
        case .closure(let body): body()
        }
        pthread_mutex_lock(s.mutex)
        continue
      }
      s.idle += 1
      var until = timespec()
      clock_gettime(CLOCK_MONOTONIC, &until)
      until.tv_sec += idleSeconds
      let result = pthread_cond_timedwait(s.condition, s.mutex, &until)
      s.idle -= 1
      if result == ETIMEDOUT, s.head == s.queue.count, s.threads > 1 {
        s.threads -= 1
        pthread_mutex_unlock(s.mutex)
        return
      }
    }
  }
}

/// Thread-specific mark of pool threads; Swift has no thread-local storage of its own.
private let poolKey: pthread_key_t = {
  var key = pthread_key_t()
  pthread_key_create(&key, nil)
  return key
}()
