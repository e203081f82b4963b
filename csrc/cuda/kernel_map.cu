// Kernel maps: the spatial hash of a level's voxels, neighbour tables looked up in it, and the maps
// between a level and the next coarser one. A thread is one voxel, or one voxel under one tap. What
// threads race for (slots of the hash) does not show in any result.
#include <tuple>

#include "device.h"
#include "voxel_table.h"

namespace {

using pcpt::Slot;
using pcpt::Tensor;
using pcpt::Voxel;
using torch::headeronly::ScalarType;

constexpr int THREADS = 256;
typedef unsigned long long Word;  // what atomics take; -1 is its largest value

__device__ int64_t thread_index() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }

__device__ Voxel load_voxel(const int4* voxels, int64_t row) {
  const int4 c = voxels[row];
  const int32_t coordinates[4] = {c.x, c.y, c.z, c.w};
  return Voxel(coordinates);
}

// Of equal keys the smallest row stays. The second smallest of them meets a smaller one, or is met by
// it, exactly once, so the least of `duplicate` is the first row that repeats an earlier one.
__global__ void insert(const int4* __restrict__ voxels, int64_t count, Slot* table, Word mask,
                       Word* duplicate) {
  const int64_t row = thread_index();
  if (row >= count) return;
  const Voxel voxel = load_voxel(voxels, row);
  if (!voxel.inside()) return;  // the caller has checked; such a key could equal another
  const Word key = static_cast<Word>(voxel.key()), empty = static_cast<Word>(pcpt::EMPTY);
  Word at = pcpt::first_slot(voxel.key(), mask);
  for (;; at = (at + 1) & mask) {
    const Word found = atomicCAS(reinterpret_cast<Word*>(&table[at].key), empty, key);
    if (found == empty || found == key) break;
  }
  const Word mine = static_cast<Word>(row);
  const Word other = atomicMin(reinterpret_cast<Word*>(&table[at].row), mine);
  if (other != empty) atomicMin(duplicate, other > mine ? other : mine);
}

__global__ void look_up(const longlong2* __restrict__ table, Word mask, int64_t num_in,
                        const int4* __restrict__ voxels, int64_t num_out,
                        const int32_t* __restrict__ offsets, int64_t volume, bool mirrored,
                        int32_t* __restrict__ neighbors) {
  const int64_t o = thread_index(), k = blockIdx.y;
  if (o >= num_out) return;
  Voxel voxel = load_voxel(voxels, o);
  voxel.move(offsets + 3 * k);
  int64_t row = -1;
  if (voxel.inside()) {
    const int64_t key = voxel.key();
    Word at = pcpt::first_slot(key, mask);
    longlong2 slot = table[at];
    while (slot.x != key && slot.x != pcpt::EMPTY) {
      at = (at + 1) & mask;
      slot = table[at];
    }
    if (slot.x == key && slot.y < num_in) row = slot.y;
  }
  const int64_t opposite = volume - 1 - k;
  if (!mirrored || opposite == k) {
    neighbors[k * num_out + o] = static_cast<int32_t>(row);
  } else if (row >= 0) {  // misses are there already; no two threads write the same place
    neighbors[k * num_out + o] = static_cast<int32_t>(row);
    neighbors[opposite * num_out + row] = static_cast<int32_t>(o);
  }
}

__global__ void place(const int32_t* __restrict__ voxels, const int32_t* __restrict__ parents,
                      int64_t num_in, int64_t stride, int64_t ratio, int64_t num_out,
                      int32_t* __restrict__ neighbors, int32_t* __restrict__ inverse) {
  const int64_t i = thread_index();
  if (i >= num_in) return;
  const int32_t parent = parents[i];
  if (parent < 0 || parent >= num_out) return;
  const int64_t tap = pcpt::tap_in_cell(voxels + 4 * i, stride, ratio);
  neighbors[tap * num_out + parent] = static_cast<int32_t>(i);
  inverse[tap * num_in + i] = parent;
}

Tensor int32_matrix(const Tensor& tensor, int64_t columns) {
  STD_TORCH_CHECK(tensor.scalar_type() == ScalarType::Int && tensor.dim() == 2 &&
                      tensor.size(1) == columns,
                  "kernel maps take (N, 4) int32 coordinates and (K, 3) int32 offsets");
  // int4 loads: a row of a slice may begin anywhere
  Tensor whole = torch::stable::contiguous(tensor);
  if (reinterpret_cast<uintptr_t>(whole.const_data_ptr<int32_t>()) % 16 == 0) return whole;
  return torch::stable::clone(whole);
}

const int4* voxel_data(const Tensor& coordinates) {
  return reinterpret_cast<const int4*>(coordinates.const_data_ptr<int32_t>());
}

template <typename T>  // all bytes 0xFF: -1 in every integer type
Tensor minus_ones(const Tensor& like, std::initializer_list<int64_t> shape, ScalarType type,
                  const pcpt::Launch& launch) {
  Tensor tensor = torch::stable::new_empty(like, shape, type);
  if (tensor.numel() > 0)
    pcpt::check_cuda(cudaMemsetAsync(tensor.mutable_data_ptr<T>(), 0xFF, tensor.numel() * sizeof(T),
                                     launch.stream()),
                     "clearing a table");
  return tensor;
}

std::tuple<Tensor, Tensor> voxel_table_cuda(const Tensor& coordinates) {
  const pcpt::Launch launch(coordinates);
  const Tensor in = int32_matrix(coordinates, 4);
  const int64_t count = in.size(0), size = pcpt::table_size(count);
  Tensor table = minus_ones<int64_t>(coordinates, {size, 2}, ScalarType::Long, launch);
  Tensor duplicate = minus_ones<int64_t>(coordinates, {}, ScalarType::Long, launch);
  PCPT_LAUNCH(insert, pcpt::blocks_for(count, THREADS), THREADS, 0, launch.stream(),
              voxel_data(in), count, reinterpret_cast<Slot*>(table.mutable_data_ptr<int64_t>()),
              static_cast<Word>(size - 1),
              reinterpret_cast<Word*>(duplicate.mutable_data_ptr<int64_t>()));
  return {table, duplicate};
}

Tensor kernel_map_cuda(const Tensor& table, int64_t num_in, const Tensor& out_coordinates,
                       const Tensor& offsets, bool mirrored) {
  const pcpt::Launch launch(out_coordinates);
  const Tensor out = int32_matrix(out_coordinates, 4), taps = int32_matrix(offsets, 3);
  const Tensor hash = torch::stable::contiguous(table);
  const int64_t num_out = out.size(0), volume = taps.size(0), size = hash.size(0);
  STD_TORCH_CHECK(hash.scalar_type() == ScalarType::Long && hash.dim() == 2 && hash.size(1) == 2 &&
                      size >= 2 * num_in && size > 0 && (size & (size - 1)) == 0,
                  "kernel_map takes the table that voxel_table made");
  STD_TORCH_CHECK(!mirrored || num_in == num_out, "a mirrored map has one set of voxels");
  const int64_t searched = mirrored ? (volume + 1) / 2 : volume;
  STD_TORCH_CHECK(searched <= 65535, "kernel_map: more than 65,535 taps");
  Tensor neighbors = minus_ones<int32_t>(out, {volume, num_out}, ScalarType::Int, launch);
  PCPT_LAUNCH(look_up, dim3(pcpt::blocks_for(num_out, THREADS), searched), THREADS, 0,
              launch.stream(), reinterpret_cast<const longlong2*>(hash.const_data_ptr<int64_t>()),
              static_cast<Word>(size - 1), num_in, voxel_data(out), num_out,
              taps.const_data_ptr<int32_t>(), volume, mirrored,
              neighbors.mutable_data_ptr<int32_t>());
  return neighbors;
}

std::tuple<Tensor, Tensor> stride_map_cuda(const Tensor& coordinates, const Tensor& parent,
                                           int64_t stride, int64_t ratio, int64_t num_out) {
  const pcpt::Launch launch(coordinates);
  const Tensor in = int32_matrix(coordinates, 4), to = torch::stable::contiguous(parent);
  const int64_t num_in = in.size(0), volume = ratio * ratio * ratio;
  STD_TORCH_CHECK(to.scalar_type() == ScalarType::Int && to.dim() == 1 && to.size(0) == num_in,
                  "stride_map takes the parents that coarsen_voxels made");
  STD_TORCH_CHECK(stride >= 1 && ratio >= 1, "stride and ratio must be positive");
  Tensor neighbors = minus_ones<int32_t>(in, {volume, num_out}, ScalarType::Int, launch);
  Tensor inverse = minus_ones<int32_t>(in, {volume, num_in}, ScalarType::Int, launch);
  PCPT_LAUNCH(place, pcpt::blocks_for(num_in, THREADS), THREADS, 0, launch.stream(),
              in.const_data_ptr<int32_t>(), to.const_data_ptr<int32_t>(), num_in, stride, ratio,
              num_out, neighbors.mutable_data_ptr<int32_t>(), inverse.mutable_data_ptr<int32_t>());
  return {neighbors, inverse};
}

}  // namespace

PCPT_CUDA_KERNELS(m) {
  m.impl("voxel_table", TORCH_BOX(&voxel_table_cuda));
  m.impl("kernel_map", TORCH_BOX(&kernel_map_cuda));
  m.impl("stride_map", TORCH_BOX(&stride_map_cuda));
}
