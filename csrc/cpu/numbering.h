// The distinct voxels among many: numbered as they are met, through a hash table, then renumbered
// once in the order of their coordinates, so that only distinct ones are sorted.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "voxel_table.h"

namespace pcpt {

// Keys with their numbers in ascending order of keys: by bytes, lowest first, skipping those that
// are the same in all keys, as the high ones of a room's coordinates are.
inline std::vector<std::pair<int64_t, int32_t>> sorted_keys(const std::vector<int64_t>& keys) {
  std::vector<std::pair<int64_t, int32_t>> order(keys.size()), other(keys.size());
  int64_t varying = 0;
  for (size_t i = 0; i < keys.size(); ++i) {
    order[i] = {keys[i], static_cast<int32_t>(i)};
    varying |= keys[i] ^ keys[0];
  }
  for (int shift = 0; shift < 64; shift += 8) {
    if ((varying >> shift & 0xFF) == 0) continue;
    size_t begin[257] = {};
    for (const auto& [key, number] : order) ++begin[(key >> shift & 0xFF) + 1];
    for (int digit = 0; digit < 256; ++digit) begin[digit + 1] += begin[digit];
    for (const auto& entry : order) other[begin[entry.first >> shift & 0xFF]++] = entry;
    order.swap(other);
  }
  return order;
}

// Open addressing; the table grows with the keys rather than with what is numbered, so that it
// stays in the cache.
class Numbering {
 public:
  // 0, 1, ... in the order in which keys first come.
  int32_t number(int64_t key) {
    if (2 * keys_.size() >= slots_.size()) grow();
    const size_t slot = find(key);
    if (slots_[slot] < 0) {
      slots_[slot] = static_cast<int32_t>(keys_.size());
      keys_.push_back(key);
    }
    return slots_[slot];
  }

  // The voxels of the keys in lexicographic order, (U, 4) int32 on the device of `like`, and the
  // row of each number among them.
  std::pair<torch::stable::Tensor, std::vector<int32_t>> sorted(
      const torch::stable::Tensor& like) const {
    const int64_t count = static_cast<int64_t>(keys_.size());
    std::vector<int32_t> rank(count);
    torch::stable::Tensor coordinates =
        torch::stable::new_empty(like, {count, 4}, torch::headeronly::ScalarType::Int);
    int32_t* out = coordinates.mutable_data_ptr<int32_t>();
    int32_t row = 0;
    for (const auto& [key, number] : sorted_keys(keys_)) {
      rank[number] = row++;
      unpack(key, out);
      out += 4;
    }
    return {coordinates, rank};
  }

 private:
  size_t find(int64_t key) const {
    const size_t mask = slots_.size() - 1;
    size_t slot = first_slot(key, mask);
    while (slots_[slot] >= 0 && keys_[slots_[slot]] != key) slot = (slot + 1) & mask;
    return slot;
  }

  void grow() {
    slots_.assign(std::max<size_t>(1024, 4 * slots_.size()), -1);
    for (size_t i = 0; i < keys_.size(); ++i) slots_[find(keys_[i])] = static_cast<int32_t>(i);
  }

  std::vector<int32_t> slots_;  // number of the key, -1 = free; a power of two of them
  std::vector<int64_t> keys_;
};

}  // namespace pcpt
