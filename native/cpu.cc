#include "cpu.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#define KERNELS "rate.inl"
#include "levels.h"

namespace cpu {
namespace {

constexpr const char* kNames[] = {"none", "neon", "neonbf16", "avx2", "avx512", "avx512bf16"};

#if defined(__aarch64__)
bool hasNeonBf16() {
#if defined(__linux__)
  return getauxval(AT_HWCAP2) & 1 << 14;  // HWCAP2_BF16
#elif defined(__APPLE__)
  int has = 0;
  size_t size = sizeof has;
  return !sysctlbyname("hw.optional.arm.FEAT_BF16", &has, &size, nullptr, 0) && has;
#else
  return false;
#endif
}
#endif

Level ofProcessor() {
#if defined(__aarch64__)
  return hasNeonBf16() ? Level::neonbf16 : Level::neon;
#endif
#if defined(__x86_64__) && defined(__linux__)
  if (__builtin_cpu_supports("avx512bf16")) return Level::avx512bf16;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    return Level::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return Level::avx2;
#endif
  return Level::none;
}

const char* requested() {
  const char* name = std::getenv("PLUMBLINE_CPU");
  return name && *name ? name : nullptr;
}

// The level that PLUMBLINE_CPU names, or the highest. src/tensor/native.ts rejects other values.
Level allowed() {
  const char* given = requested();
  for (const auto level : kLevels)
    if (given && !std::strcmp(given, name(level))) return level;
  return Level::avx512bf16;
}

#ifdef PLUMBLINE_KERNELS
double rateOf(Level level) {
  switch (level) {
#if defined(__x86_64__)
    case Level::avx512bf16: return avx512bf16::rate();
    case Level::avx512: return avx512::rate();
    case Level::avx2: return avx2::rate();
#elif defined(__aarch64__)
    case Level::neonbf16: return neonbf16::rate();
    case Level::neon: return neon::rate();
#endif
    default: return 0;
  }
}
#endif

// Processors with bfloat16 instructions compute with them at up to twice the rate of float32, or at half of it (Intel's
// with AMX). Returns the faster level of the two.
Level fasterOf(Level bfloat16, Level float32) {
  // Levels are never close: the margin keeps the choice the same in every process.
  constexpr double margin = 1.25;
  return peakRate(bfloat16) > margin * peakRate(float32) ? bfloat16 : float32;
}

Level chosen() {
  const auto level = std::min(ofProcessor(), allowed());
#if !defined(__aarch64__)
  if (level < Level::avx2) return Level::none;
#endif
  if (requested()) return level;
  if (level == Level::avx512bf16) return fasterOf(level, Level::avx512);
  if (level == Level::neonbf16) return fasterOf(level, Level::neon);
  return level;
}

}  // namespace

double peakRate(Level level) {
  double best = 0;
#ifdef PLUMBLINE_KERNELS
  // The best of several bursts: the first ones wake the vector units, and others may be interrupted.
  if (level <= ofProcessor())
    for (int i = 0; i < 40; i++) best = std::max(best, rateOf(level));
#endif
  return best;
}

Level level() {
  static const auto level = chosen();
  return level;
}

Level kernels() {
#if defined(PLUMBLINE_EMULATE)
  static const auto given = allowed();
  return given;
#else
  return level();
#endif
}

bool hasKernels() {
#ifdef PLUMBLINE_KERNELS
  return kernels() != Level::none;
#else
  return false;
#endif
}

const char* name(Level level) { return kNames[int(level)]; }

}  // namespace cpu
