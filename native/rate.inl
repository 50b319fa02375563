// Peak rate of one instruction set: see simd.h.

// Measures the floating-point operations per nanosecond of multiply-adds in registers, on one thread.
double rate() {
  constexpr int sums = 12, steps = 512;  // enough sums to hide the latency; a burst takes some microseconds
  volatile Number zero = 0;  // the compiler cannot know the results
  const Number number = zero;
  Item item{};
  __builtin_memcpy(&item, &number, sizeof number);
  const auto factor = inAllLanes(item);
  F sum[sums] = {};
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < steps; i++)
    UNROLL for (int s = 0; s < sums; s++) sum[s] = multiplyAdd(factor, factor, sum[s]);
  F all{};
  UNROLL for (int s = 0; s < sums; s++) all += sum[s];
  volatile float result = all[0];
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
  return 2.0 * sums * steps * LANES * kPerItem / took.count() + result;
}
