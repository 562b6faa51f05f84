/// Every method that an expression may call: a name that is none of these is an error at start.
enum Method: String, CaseIterable {
  // operators
  case add = "+", subtract = "-", multiply = "*", divide = "/", modulo = "%", power = "**"
  case equal = "==", notEqual = "!=", caseEqual = "===", compare = "<=>", less = "<", lessOrEqual = "<=", greater = ">", greaterOrEqual = ">="
  case matches = "=~", matchesNot = "!~", shiftLeft = "<<", shiftRight = ">>", and = "&", or = "|", xor = "^", negate = "-@"
  case index = "[]", indexSet = "[]="
  // functions without a receiver
  case kernelInteger = "(Integer)", kernelFloat = "(Float)", kernelString = "(String)", kernelArray = "(Array)"
  case kernelFormat = "(format)", kernelRandom = "(rand)"
  // all values
  case toS = "to_s", inspect, isNil = "nil?", isA = "is_a?", kindOf = "kind_of?", instanceOf = "instance_of?", respondTo = "respond_to?"
  case itself, dup, clone, freeze, frozen = "frozen?", then, yieldSelf = "yield_self", tap, toJSON = "to_json", toMsgpack = "to_msgpack"
  case isEqual = "equal?", eql = "eql?", classOf = "class", between = "between?", clamp, hash
  // conversions
  case toI = "to_i", toF = "to_f", toA = "to_a", toH = "to_h", toSym = "to_sym", intern, toStr = "to_str", toInt = "to_int", toR = "to_r"
  case toAry = "to_ary", entries, toProc = "to_proc", toHash = "to_hash"
  // strings
  case upcase, downcase, capitalize, swapcase, strip, lstrip, rstrip, chomp, chop, chr, length, size, bytesize, bytes, chars
  case eachChar = "each_char", eachLine = "each_line", lines, isEmpty = "empty?", include = "include?", startWith = "start_with?"
  case endWith = "end_with?", indexOf = "index", rindex, slice, byteslice, sub, gsub, tr, trS = "tr_s", delete, squeeze, count, split, partition,
    rpartition
  case reverse, center, ljust, rjust, concat, match, isMatch = "match?", scan, encode, forceEncoding = "force_encoding"
  case unicodeNormalize = "unicode_normalize", encoding, validEncoding = "valid_encoding?", asciiOnly = "ascii_only?", scrub, b, hex, oct, ord
  case insert, prepend, replace, casecmp, isCasecmp = "casecmp?", deletePrefix = "delete_prefix", deleteSuffix = "delete_suffix", succ, next
  case eachByte = "each_byte", unpack, unpack1, dump
  // numbers
  case round, floor, ceil, truncate, abs, magnitude, isZero = "zero?", isNonzero = "nonzero?", isPositive = "positive?", isNegative = "negative?"
  case isEven = "even?", isOdd = "odd?", pred, times, upto, downto, step, digits, divmod, div, modulus = "modulo", fdiv, remainder, gcd, lcm, pow
  case isNaN = "nan?", isInfinite = "infinite?", isFinite = "finite?", isInteger = "integer?", bitLength = "bit_length"
  // collections
  case at, dig, fetch, first, last, push, append, pop, shift, unshift, isAny = "any?", isAll = "all?", isNone = "none?", isOne = "one?"
  case member = "member?", findIndex = "find_index", join, rotate, sort, sortBy = "sort_by", min, max, minBy = "min_by", maxBy = "max_by"
  case minmax, sum, uniq, compact, flatten, map, collect, flatMap = "flat_map", collectConcat = "collect_concat", select, filter, reject
  case groupBy = "group_by", find, detect, findAll = "find_all", each, eachWithIndex = "each_with_index", eachWithObject = "each_with_object"
  case inject, reduce, eachSlice = "each_slice", eachCons = "each_cons", zip, take, drop, takeWhile = "take_while", dropWhile = "drop_while"
  case deleteAt = "delete_at", deleteIf = "delete_if", keepIf = "keep_if", valuesAt = "values_at", transpose, tally, filterMap = "filter_map"
  case assoc, sample, shuffle, withIndex = "with_index", lazy, force, clear, reverseEach = "reverse_each", union, difference, intersection
  case isIntersecting = "intersect?", grep, grepV = "grep_v", pack
  // hashes
  case hasKey = "key?", hasKeyOld = "has_key?", hasValue = "value?", hasValueOld = "has_value?", key, keys, values, fetchValues = "fetch_values"
  case eachPair = "each_pair", eachKey = "each_key", eachValue = "each_value", merge, update, store, invert
  case transformValues = "transform_values", transformKeys = "transform_keys", except
  // ranges
  case cover = "cover?", begin, end, excludeEnd = "exclude_end?"
  // times
  case strftime, iso8601, xmlschema, utc, getutc, gmtime, getgm, localtime, getlocal, year, month, mon, day, mday, hour, minute, second, sec
  case usec, nsec, tvUsec = "tv_usec", tvNsec = "tv_nsec", tvSec = "tv_sec", wday, yday, zone, utcOffset = "utc_offset", gmtOffset = "gmt_offset"
  case isUTC = "utc?", toTime = "to_time", toDateTime = "to_datetime", rfc2822, httpdate, newOffset = "new_offset"
  // matches, regular expressions, errors
  case captures, namedCaptures = "named_captures", names, preMatch = "pre_match", postMatch = "post_match", string, source, options
  case message, fullMessage = "full_message", name
  // classes
  case new, now, parse, strptime, generate, prettyGenerate = "pretty_generate", load, gethostname, pid, basename, dirname, extname
  case sqrt, log, log2, log10, exp, sin, cos, atan2, hypot, escape, unescape, quote, escapeHTML, unescapeHTML, lastMatch = "last_match"
  case encode64, strictEncode64 = "strict_encode64", urlsafeEncode64 = "urlsafe_encode64", decode64, strictDecode64 = "strict_decode64"
  case urlsafeDecode64 = "urlsafe_decode64", uuid, alphanumeric, randomNumber = "random_number", local, mktime, gm, tryConvert = "try_convert"
  case decodeWWWFormComponent = "decode_www_form_component", encodeWWWFormComponent = "encode_www_form_component"
  case encodeURIComponent = "encode_uri_component", decodeURIComponent = "decode_uri_component", escapeURIComponent = "escapeURIComponent"

  /// Whether it may be written after a dot: an operator may not.
  var isNamed: Bool { rawValue.utf8.first.map { $0 >= 0x61 && $0 <= 0x7a || $0 >= 0x41 && $0 <= 0x5a } ?? false }

  /// What the form with `!` gives back; nil where there is none.
  var bang: ChangeNode.Result? {
    switch self {
    case .gsub, .sub, .upcase, .downcase, .capitalize, .swapcase, .strip, .lstrip, .rstrip, .chomp, .chop, .squeeze, .tr, .trS, .delete, .compact,
      .flatten, .uniq, .reject, .select, .filter, .deletePrefix, .deleteSuffix:
      .receiverIfChanged
    case .map, .collect, .sort, .sortBy, .reverse, .shuffle, .rotate, .merge, .transformValues, .transformKeys, .encode, .scrub, .unicodeNormalize:
      .receiver
    default: nil
    }
  }

  /// Changes its receiver without a `!`.
  var changesReceiver: Bool {
    switch self {
    case .concat, .prepend, .replace, .insert, .clear, .forceEncoding: true
    default: false
    }
  }

  /// Changes the Array or Hash that it is called on, in the form with `!` or without.
  var mayChangeContainer: Bool {
    switch self {
    case .indexSet, .store, .delete, .deleteAt, .deleteIf, .keepIf, .shift, .unshift, .push, .append, .pop, .insert, .concat, .prepend, .replace,
      .clear, .update, .shiftLeft:
      true
    default: false
    }
  }

  /// Gives something else at each call.
  var isRandom: Bool { self == .kernelRandom || self == .sample || self == .shuffle }

  /// Gives an Enumerator without a block, which `.with_index` goes on with.
  var takesBlock: Bool {
    switch self {
    case .map, .collect, .select, .filter, .reject, .each, .flatMap, .filterMap, .find, .detect, .sortBy, .groupBy, .partition, .eachChar,
      .minBy, .maxBy, .eachLine, .eachPair, .deleteIf, .keepIf:
      true
    default: false
    }
  }

  /// Its first argument is often a regular expression, so that `/` after it begins one.
  var takesRegexp: Bool {
    switch self {
    case .match, .isMatch, .gsub, .sub, .scan, .split, .grep: true
    default: false
    }
  }
}
