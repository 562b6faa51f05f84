// Counts what the process allocates: malloc and its relatives are replaced in the benchmark's executable.
#pragma once
#include <stdint.h>
/// Allocations so far, of all threads.
uint64_t bench_allocations(void);
/// One allocation and its release, which no compiler removes: for the count's own test.
void bench_allocate_once(void);
