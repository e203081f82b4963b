// Kernel maps: the spatial hash of a level's voxels, neighbour tables looked up in it, and the maps
// between a level and the next coarser one, which follow from the coordinates without a search.
// What threads race for (slots of the hash) does not show in any result.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <atomic>
#include <tuple>
#include <vector>

#include "numbering.h"
#include "parallel.h"
#include "voxel_table.h"

namespace {

using pcpt::EMPTY;
using pcpt::Slot;
using pcpt::Voxel;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t BLOCK = 1024;    // voxels of a task
constexpr int64_t INSERTS = 8192;  // voxels of a task that fills the hash

Tensor int32_matrix(const Tensor& tensor, int64_t columns) {
  STD_TORCH_CHECK(tensor.scalar_type() == ScalarType::Int && tensor.dim() == 2 &&
                      tensor.size(1) == columns,
                  "kernel maps take (N, 4) int32 coordinates and (K, 3) int32 offsets");
  return torch::stable::contiguous(tensor);
}

int64_t load(const int64_t* value) { return __atomic_load_n(value, __ATOMIC_RELAXED); }

void keep_smallest(int64_t* value, int64_t candidate) {
  int64_t now = load(value);
  while (candidate < now && !__atomic_compare_exchange_n(value, &now, candidate, true,
                                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

// Enters a row; of equal keys the smallest row stays, and the other is returned, else -1.
int64_t insert(Slot* table, uint64_t mask, int64_t key, int64_t row) {
  uint64_t at = pcpt::first_slot(key, mask);
  for (;; at = (at + 1) & mask) {
    int64_t found = load(&table[at].key);
    if (found == EMPTY && __atomic_compare_exchange_n(&table[at].key, &found, key, false,
                                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED))
      found = key;
    if (found == key) break;
  }
  int64_t* stored = &table[at].row;
  int64_t other = EMPTY;  // first the slot's own -1
  while (!__atomic_compare_exchange_n(stored, &other, other == EMPTY ? row : std::min(other, row),
                                      false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return other == EMPTY ? -1 : std::max(other, row);
}

// The hash, and the smallest row that repeats an earlier one, or -1. In whatever order equal voxels
// come, the second smallest row of them is returned by one insertion, and no smaller one.
std::tuple<Tensor, Tensor> voxel_table_cpu(const Tensor& coordinates) {
  const Tensor in = int32_matrix(coordinates, 4);
  const int64_t count = in.size(0), size = pcpt::table_size(count);
  const int32_t* voxels = in.const_data_ptr<int32_t>();
  Tensor table = torch::stable::new_empty(coordinates, {size, 2}, ScalarType::Long);
  Slot* slots = reinterpret_cast<Slot*>(table.mutable_data_ptr<int64_t>());
  std::fill_n(slots, size, Slot{EMPTY, EMPTY});

  int64_t duplicate = count;
  pcpt::for_each_task((count + INSERTS - 1) / INSERTS, [&](int64_t task) {
    const int64_t end = std::min(count, (task + 1) * INSERTS);
    for (int64_t row = task * INSERTS; row < end; ++row) {
      const Voxel voxel(voxels + 4 * row);
      if (!voxel.inside()) continue;  // the caller has checked; such a key could equal another
      const int64_t repeated = insert(slots, size - 1, voxel.key(), row);
      if (repeated >= 0) keep_smallest(&duplicate, repeated);
    }
  });
  Tensor first = torch::stable::new_empty(coordinates, {}, ScalarType::Long);
  *first.mutable_data_ptr<int64_t>() = duplicate < count ? duplicate : -1;
  return {table, first};
}

// Rows of the neighbours of `count` voxels under one tap.
void look_up(const Slot* table, uint64_t mask, int64_t num_in, const int32_t* voxels,
             int64_t count, const int32_t* offset, int32_t* rows) {
  uint64_t slots[BLOCK];
  int64_t keys[BLOCK];
  for (int64_t o = 0; o < count; ++o) {
    Voxel voxel(voxels + 4 * o);
    voxel.move(offset);
    keys[o] = voxel.inside() ? voxel.key() : pcpt::NOWHERE;
    slots[o] = pcpt::first_slot(keys[o], mask);
    __builtin_prefetch(table + slots[o]);
  }
  for (int64_t o = 0; o < count; ++o) {
    uint64_t at = slots[o];
    while (table[at].key != keys[o] && table[at].key != EMPTY) at = (at + 1) & mask;
    const int64_t row = table[at].row;
    rows[o] = row < num_in ? static_cast<int32_t>(row) : -1;
  }
}

// `mirrored`: tap k is minus tap K-1-k and both sides are the same voxels. Then only the first half
// is looked up: o finds i under tap k exactly if i finds o under the opposite tap.
Tensor kernel_map_cpu(const Tensor& table, int64_t num_in, const Tensor& out_coordinates,
                      const Tensor& offsets, bool mirrored) {
  const Tensor out = int32_matrix(out_coordinates, 4), taps = int32_matrix(offsets, 3);
  const Tensor hash = torch::stable::contiguous(table);
  const int64_t num_out = out.size(0), volume = taps.size(0), size = hash.size(0);
  STD_TORCH_CHECK(hash.scalar_type() == ScalarType::Long && hash.dim() == 2 && hash.size(1) == 2 &&
                      size >= 2 * num_in && size > 0 && (size & (size - 1)) == 0,
                  "kernel_map takes the table that voxel_table made");
  STD_TORCH_CHECK(!mirrored || num_in == num_out, "a mirrored map has one set of voxels");
  const Slot* slots = reinterpret_cast<const Slot*>(hash.const_data_ptr<int64_t>());
  const int32_t* voxels = out.const_data_ptr<int32_t>();
  const int32_t* tap_data = taps.const_data_ptr<int32_t>();
  Tensor neighbors = torch::stable::new_empty(out_coordinates, {volume, num_out});
  int32_t* result = neighbors.mutable_data_ptr<int32_t>();

  const int64_t searched = mirrored ? (volume + 1) / 2 : volume;
  pcpt::for_each_task(volume - searched, [&](int64_t k) {
    std::fill_n(result + (searched + k) * num_out, num_out, -1);
  });
  // A block of voxels meets all taps in turn: its neighbourhood stays in the cache.
  pcpt::for_each_task((num_out + BLOCK - 1) / BLOCK, [&](int64_t task) {
    const int64_t first = task * BLOCK, count = std::min(BLOCK, num_out - first);
    for (int64_t k = 0; k < searched; ++k) {
      int32_t* rows = result + k * num_out + first;
      look_up(slots, size - 1, num_in, voxels + 4 * first, count, tap_data + 3 * k, rows);
      const int64_t opposite = volume - 1 - k;
      if (!mirrored || opposite == k) continue;
      for (int64_t o = 0; o < count; ++o)  // no two voxels write the same place
        if (rows[o] >= 0) result[opposite * num_out + rows[o]] = static_cast<int32_t>(first + o);
    }
  });
  return neighbors;
}

// The voxels floor(c / stride) * stride in lexicographic order, and the row of each voxel's own.
std::tuple<Tensor, Tensor> coarsen_voxels_cpu(const Tensor& coordinates, int64_t stride) {
  const Tensor in = int32_matrix(coordinates, 4);
  STD_TORCH_CHECK(stride >= 1 && stride <= 2 * pcpt::COORDINATE_LIMIT, "stride out of range");
  const int64_t count = in.size(0);
  const int32_t* voxels = in.const_data_ptr<int32_t>();
  Tensor parent = torch::stable::new_empty(coordinates, {count});
  int32_t* parents = parent.mutable_data_ptr<int32_t>();

  pcpt::Numbering numbering;
  for (int64_t i = 0; i < count; ++i) {
    Voxel cell(voxels + 4 * i);
    cell.x = pcpt::floor_to(cell.x, stride);
    cell.y = pcpt::floor_to(cell.y, stride);
    cell.z = pcpt::floor_to(cell.z, stride);
    STD_TORCH_CHECK(cell.inside(), "coarsen_voxels: a cell begins beyond -2^15");
    parents[i] = numbering.number(cell.key());
  }
  const auto [coarse, rank] = numbering.sorted(coordinates);
  for (int64_t i = 0; i < count; ++i) parents[i] = rank[parents[i]];
  return {coarse, parent};
}

// The map of a convolution whose kernel covers exactly a coarse voxel's cell of ratio^3 voxels, and
// its inverse: each voxel lies under one tap of its parent alone.
std::tuple<Tensor, Tensor> stride_map_cpu(const Tensor& coordinates, const Tensor& parent,
                                          int64_t stride, int64_t ratio, int64_t num_out) {
  const Tensor in = int32_matrix(coordinates, 4);
  const Tensor to = torch::stable::contiguous(parent);
  const int64_t num_in = in.size(0), volume = ratio * ratio * ratio;
  STD_TORCH_CHECK(to.scalar_type() == ScalarType::Int && to.dim() == 1 && to.size(0) == num_in,
                  "stride_map takes the parents that coarsen_voxels made");
  STD_TORCH_CHECK(stride >= 1 && ratio >= 1, "stride and ratio must be positive");
  const int32_t* voxels = in.const_data_ptr<int32_t>();
  const int32_t* parents = to.const_data_ptr<int32_t>();
  Tensor neighbors = torch::stable::new_empty(coordinates, {volume, num_out});
  Tensor inverse = torch::stable::new_empty(coordinates, {volume, num_in});
  int32_t* down = neighbors.mutable_data_ptr<int32_t>();
  int32_t* up = inverse.mutable_data_ptr<int32_t>();
  std::fill_n(down, volume * num_out, -1);
  std::fill_n(up, volume * num_in, -1);
  for (int64_t i = 0; i < num_in; ++i) {
    if (parents[i] < 0 || parents[i] >= num_out) continue;
    const int64_t tap = pcpt::tap_in_cell(voxels + 4 * i, stride, ratio);
    down[tap * num_out + parents[i]] = static_cast<int32_t>(i);
    up[tap * num_in + i] = parents[i];
  }
  return {neighbors, inverse};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(pcpt, CPU, m) {
  m.impl("voxel_table", TORCH_BOX(&voxel_table_cpu));
  m.impl("kernel_map", TORCH_BOX(&kernel_map_cpu));
  m.impl("coarsen_voxels", TORCH_BOX(&coarsen_voxels_cpu));
  m.impl("stride_map", TORCH_BOX(&stride_map_cpu));
}
