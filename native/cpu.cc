#include "cpu.h"

#include <cstdlib>
#include <cstring>

namespace cpu {
namespace {

constexpr const char* kNames[] = {"none", "avx2", "avx512", "avx512bf16"};

Level ofProcessor() {
#if defined(__x86_64__) && defined(__linux__)
  if (__builtin_cpu_supports("avx512bf16")) return Level::avx512bf16;
#endif
#ifdef PLUMBLINE_LEVELS
  if (__builtin_cpu_supports("x86-64-v4")) return Level::avx512;
  if (__builtin_cpu_supports("x86-64-v3")) return Level::avx2;
#endif
  return Level::none;
}

// src/tensor/native.ts rejects other values.
Level allowed() {
  const char* given = std::getenv("PLUMBLINE_CPU");
  for (int i = 0; given && i < 4; i++)
    if (!std::strcmp(given, kNames[i])) return Level(i);
  return Level::avx512bf16;
}

}  // namespace

Level level() {
  static const auto lower = ofProcessor() < allowed() ? ofProcessor() : allowed();
  return lower;
}

const char* name(Level level) { return kNames[int(level)]; }

bool hasBf16() {
#if defined(PLUMBLINE_EMULATE)
  return allowed() == Level::avx512bf16;
#else
  return level() == Level::avx512bf16;
#endif
}

}  // namespace cpu
