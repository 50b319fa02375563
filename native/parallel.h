// Parallel loops on the OpenMP threads of libtorch. The runtime is called directly: Apple's compiler has no OpenMP, and
// without it at::parallel_for runs in one thread.
#pragma once
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

extern "C" {
void GOMP_parallel(void (*work)(void*), void* data, unsigned threads, unsigned flags);
int omp_get_num_threads();
int omp_get_thread_num();
int omp_in_parallel();
}

namespace parallel {

// Calls work(first, end) on parts of [begin, end) at once, each of `grain` numbers or more, and rethrows what one of the
// calls throws. Nested loops are serial.
template <class Work>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const Work& work) {
  if (begin >= end) return;
  if (end - begin <= grain || omp_in_parallel() || at::get_num_threads() == 1) return work(begin, end);
  struct Loop {
    int64_t begin, end, grain;
    const Work& work;
    std::atomic_flag failed = ATOMIC_FLAG_INIT;
    std::exception_ptr error;
  } loop{begin, end, grain, work};
  const auto runPart = [](void* data) {
    auto& loop = *static_cast<Loop*>(data);
    const int64_t count = loop.end - loop.begin, most = (count + loop.grain - 1) / loop.grain;
    const int64_t parts = std::min<int64_t>(omp_get_num_threads(), most), size = (count + parts - 1) / parts;
    const int64_t first = loop.begin + omp_get_thread_num() * size, last = std::min(loop.end, first + size);
    if (first >= last) return;
    try {
      loop.work(first, last);
    } catch (...) {
      if (!loop.failed.test_and_set()) loop.error = std::current_exception();
    }
  };
  GOMP_parallel(runPart, &loop, 0, 0);  // 0: the number of threads that libtorch has set
  if (loop.error) std::rethrow_exception(loop.error);
}

}  // namespace parallel
