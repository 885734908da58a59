// Every macro of the library. A user may define, before the first include and the same in every file of a program:
//   TOWPATH_ASSERT(condition)   what happens on a caller's bug; default: assert()
//   TOWPATH_FAIL(message)       what value() and throwing constructors do without exceptions; default: print, abort()
//   TOWPATH_FAILPOINT(name)     called between the protocol's steps; default: nothing. Tests kill the process there.
//   TOWPATH_WORD_POLICY         the type through which every shared word is touched; default: shm::DirectPolicy
//   TOWPATH_FLUSH_POLICY        the type through which files reach the disk; default: shm::DirectFlush
// Exceptions, TOWPATH_FAILPOINT and the policies are part of the inline namespace, so that files that differ in
// them never share a symbol; whatever else differs (TOWPATH_ASSERT, TOWPATH_FAIL, NDEBUG, sanitizers) is yours to keep
// the same. Between processes only the format version protects you.
#pragma once

#if __cplusplus < 202002L
#error "towpath needs C++20: compile with -std=c++20"
#endif

#include <cassert>
#include <cstdio>
#include <cstdlib>

#include <towpath/core/version.hpp>

#if !defined(__linux__) || !defined(__LP64__)
#error "towpath needs 64-bit Linux: lock-free 64-bit words, futex, OFD locks, openat2"
#endif

#if defined(__cpp_exceptions)
#define TOWPATH_EXCEPTIONS 1
#define TOWPATH_ABI_EXCEPTIONS
#else
#define TOWPATH_EXCEPTIONS 0
#define TOWPATH_ABI_EXCEPTIONS _noexcept
#endif

#if defined(__SANITIZE_THREAD__)
#define TOWPATH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TOWPATH_TSAN 1
#endif
#endif
#ifndef TOWPATH_TSAN
#define TOWPATH_TSAN 0
#endif

#ifndef TOWPATH_ASSERT
#define TOWPATH_ASSERT(condition) assert(condition)
#endif

#ifndef TOWPATH_FAIL
#define TOWPATH_FAIL(message) (std::fprintf(stderr, "towpath: %s\n", message), std::abort())
#endif

#ifdef TOWPATH_FAILPOINT
#define TOWPATH_ABI_FAILPOINT _failpoints
#else
#define TOWPATH_FAILPOINT(name) ((void)0)
#define TOWPATH_ABI_FAILPOINT
#endif

#ifdef TOWPATH_WORD_POLICY
#define TOWPATH_ABI_POLICY _policy
#else
#define TOWPATH_WORD_POLICY ::towpath::shm::DirectPolicy
#define TOWPATH_ABI_POLICY
#endif

#ifdef TOWPATH_FLUSH_POLICY
#define TOWPATH_ABI_FLUSH _flush
#else
#define TOWPATH_FLUSH_POLICY ::towpath::shm::DirectFlush
#define TOWPATH_ABI_FLUSH
#endif

// Seeded bugs for negative controls: a test target defines one to see its own check fail. Never defined by users.
#ifdef TOWPATH_SEED_STORE_COMMIT
#define TOWPATH_ABI_SEED _seed
#else
#define TOWPATH_SEED_STORE_COMMIT 0
#define TOWPATH_ABI_SEED
#endif

#define TOWPATH_ABI_JOIN_(a, b, c, d, e, f) a##b##c##d##e##f
#define TOWPATH_ABI_JOIN(a, b, c, d, e, f) TOWPATH_ABI_JOIN_(a, b, c, d, e, f)
#define TOWPATH_ABI                                                                                          \
  TOWPATH_ABI_JOIN(v0, TOWPATH_ABI_EXCEPTIONS, TOWPATH_ABI_FAILPOINT, TOWPATH_ABI_POLICY, TOWPATH_ABI_FLUSH, \
                   TOWPATH_ABI_SEED)

// A path that is taken once in thousands of records: kept out of the loop that is taken for each.
#define TOWPATH_COLD __attribute__((noinline, cold))
// A path that is taken for each record.
#define TOWPATH_HOT inline __attribute__((always_inline))
