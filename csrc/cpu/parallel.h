// Tasks of unequal size on torch's own threads: each thread takes the next task when it is free.
// Which thread runs a task must not show in the result.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace pcpt {

template <typename Task>  // void(int64_t index); must not throw
void for_each_task(int64_t count, const Task& task) {
  const int64_t workers = std::min<int64_t>(count, torch::stable::get_num_threads());
  std::atomic<int64_t> next{0};
  torch::stable::parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    for (int64_t i = next++; i < count; i = next++) task(i);
  });
}

}  // namespace pcpt
