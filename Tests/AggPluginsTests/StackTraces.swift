/// Stack traces as the languages' runtimes print them; each is one event.
enum StackTraces {
  static let java = """
    java.lang.IllegalStateException: Unable to open the store
    \tat org.example.store.Store.open(Store.java:61)
    \tat org.example.store.Main.lambda$run$0(Main.java:17)
    \tat java.base/java.util.ArrayList.forEach(ArrayList.java:1596)
    \tSuppressed: java.io.IOException: close failed
    \t\tat org.example.store.Store.close(Store.java:80)
    Caused by: java.io.FileNotFoundException: /data/store (Permission denied)
    \tat java.base/java.io.FileInputStream.open0(Native Method)
    \t... 3 more
    """
  static let nestedJava = """
    Exception in thread "main" java.lang.RuntimeException: sending failed;
      nested exception is:
    javax.mail.MessagingException: connection lost

    \tat org.example.Mail.send(Mail.java:9)
    \t... 27 common frames omitted
    """
  static let javascript = """
    TypeError: Cannot read properties of undefined (reading 'id')
        at getUser (/srv/app/users.js:12:19)
        at async /srv/app/server.js:40:5
        at process.processTicksAndRejections (node:internal/process/task_queues:95:5)
    """
  static let csharp = """
    Unhandled exception. System.InvalidOperationException: outer
     ---> System.ArgumentException: inner
       at Program.Inner() in /src/Program.cs:line 12
       --- End of inner exception stack trace ---
       at Program.<Main>$(String[] args) in /src/Program.cs:line 5
    """
  static let csharpAsync = """
    System.TimeoutException: The operation has timed out.
       at Example.Client.CallAsync() in /src/Client.cs:line 33
    --- End of stack trace from previous location where exception was thrown ---
       at System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw()
    """
  static let python = """
    Traceback (most recent call last):
      File "/srv/app/main.py", line 10, in <module>
        main()
      File "/srv/app/main.py", line 6, in main
        return 1 / 0
    ZeroDivisionError: division by zero
    """
  static let pythonWithMarks = """
    Traceback (most recent call last):
      File "/srv/app/main.py", line 10, in <module>
        main()
        ~~~~^^
      File "/srv/app/main.py", line 6, in main
        return 1 / 0
               ~~^~~
    app.errors.Wrapped: division by zero
    """
  static let php = """
    PHP Fatal error:  Uncaught RuntimeException: no connection in /srv/www/db.php:14
    Stack trace:
    #0 /srv/www/index.php(3): Database->connect()
    #1 {main}
      thrown in /srv/www/db.php on line 14
    """
  static let go = """
    panic: runtime error: index out of range [5] with length 3

    goroutine 1 [running]:
    main.pick(...)
    \t/srv/app/main.go:8
    main.(*server).handle(0xc000012120)
    \t/srv/app/main.go:14 +0x1d
    created by net/http.(*Server).Serve in goroutine 7
    \t/usr/local/go/src/net/http/server.go:3285 +0x4b4
    """
  static let goSignal = """
    panic: runtime error: invalid memory address or nil pointer dereference
    [signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x45a1b0]

    goroutine 1 [running]:
    main.main()
    \t/srv/app/main.go:9 +0x10
    """
  static let goHTTP = """
    2024/05/01 10:00:00 http: panic serving 127.0.0.1:52814: boom
    goroutine 34 [running]:
    net/http.(*conn).serve.func1()
    \t/usr/local/go/src/net/http/server.go:1898 +0xbe
    """
  static let rails = """
    ActionController::RoutingError (No route matches [GET] "/missing"):
     \u{20}
      app/controllers/application_controller.rb:12:in `show'
      vendor/bundle/gems/rack-3.0/lib/rack/events.rb:113:in 'Rack::Events#call'
    """
  static let dart = """
    Unhandled exception:
    RangeError (index): Invalid value: Not in inclusive range 0..2: 9
    #0      List.[] (dart:core-patch/growable_array.dart:264:36)
    #1      main (file:///srv/app/bin/main.dart:4:7)
    <asynchronous suspension>
    """
  static let dartMethod = """
    Unhandled exception:
    NoSuchMethodError: Class 'int' has no instance method 'go'.
    Receiver: 1
    Tried calling: go()
    #0      Object.noSuchMethod (dart:core-patch/object_patch.dart:38:5)
    #1      main (file:///srv/app/bin/main.dart:3:9)
    """
  static let dartFormat = """
    Unhandled exception:
    FormatException: Invalid radix-10 number (at character 1)
    x1
    ^

    #0      int._throwFormatException (dart:core-patch/integers_patch.dart:131:5)
    """

  /// The name of the language, the trace, and whether its last line says that it is the last.
  static let all: [(language: String, trace: String, ends: Bool)] = [
    ("java", java, false), ("java", nestedJava, false), ("js", javascript, false), ("csharp", csharp, false),
    ("csharp", csharpAsync, false),
    ("python", python, true), ("py", pythonWithMarks, true), ("php", php, true), ("go", go, false), ("go", goSignal, false),
    ("go", goHTTP, false),
    ("ruby", rails, false), ("dart", dart, false), ("dart", dartMethod, false), ("dart", dartFormat, false),
  ]
}
