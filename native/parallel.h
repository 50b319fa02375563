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
int omp_in_parallel();
}

namespace parallel {

// Calls work(first, end) on parts of [begin, end) at once, each of `grain` numbers or more, and rethrows what one of the
// calls throws. There are `PerThread` parts for each thread, which takes the next when it is done with one: cores differ
// in speed, and other processes slow some of them down. Nested loops are serial.
template <int PerThread = 4, class Work>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const Work& work) {
  if (begin >= end) return;
  if (end - begin <= grain || omp_in_parallel() || at::get_num_threads() == 1) return work(begin, end);
  const int64_t parts = std::min<int64_t>(PerThread * at::get_num_threads(), (end - begin + grain - 1) / grain);
  struct Loop {
    int64_t end, size;
    const Work& work;
    std::atomic<int64_t> next;
    std::atomic_flag failed = ATOMIC_FLAG_INIT;
    std::exception_ptr error;
  } loop{end, (end - begin + parts - 1) / parts, work, begin};
  const auto takeParts = [](void* data) {
    auto& loop = *static_cast<Loop*>(data);
    try {
      for (int64_t first; (first = loop.next.fetch_add(loop.size)) < loop.end;)
        loop.work(first, std::min(loop.end, first + loop.size));
    } catch (...) {
      if (!loop.failed.test_and_set()) loop.error = std::current_exception();
    }
  };
  GOMP_parallel(takeParts, &loop, 0, 0);  // 0: the number of threads that libtorch has set
  if (loop.error) std::rethrow_exception(loop.error);
}

}  // namespace parallel
