// The loops of projection.h for one instruction set: included once for each, with PCPT_ISA its
// namespace and PCPT_COMPRESS where it is AVX-512. Loops are plain and branch-free, for the compiler
// to vectorise; & and | rather than && and ||, which would be branches.
namespace PCPT_ISA {

using pcpt::POINT_BLOCK;

inline void project(const pcpt::Projection& projection, const float* points, int64_t count,
             float* __restrict__ u, float* __restrict__ v, float* __restrict__ z) {
  for (int64_t i = 0; i < count; ++i) {
    const pcpt::Pixel pixel =
        pcpt::project(projection, points[3 * i], points[3 * i + 1], points[3 * i + 2]);
    u[i] = pixel.u;
    v[i] = pixel.v;
    z[i] = pixel.z;
  }
}

// Moves to the front the entries of all columns whose flag is not 0; returns how many.
inline int64_t keep(const int32_t* flag, int64_t count, pcpt::BlockPoints& m) {
  int64_t kept = 0, i = 0;
#ifdef PCPT_COMPRESS
  for (; i + 16 <= count; i += 16) {
    const __m512i flags = _mm512_loadu_si512(flag + i);
    const __mmask16 mask = _mm512_test_epi32_mask(flags, flags);
    if (mask == 0) continue;
    // Whole vectors are stored; as kept <= i, no entry is overwritten before it is read.
    const __m512i offset = _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(m.offset + i));
    const __m512 u = _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(m.u + i));
    const __m512 v = _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(m.v + i));
    const __m512 error = _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(m.depth + i));
    _mm512_storeu_si512(m.offset + kept, offset);
    _mm512_storeu_ps(m.u + kept, u);
    _mm512_storeu_ps(m.v + kept, v);
    _mm512_storeu_ps(m.depth + kept, error);
    kept += __builtin_popcount(mask);
  }
#endif
  for (; i < count; ++i) {
    m.offset[kept] = m.offset[i];
    m.u[kept] = m.u[i];
    m.v[kept] = m.v[i];
    m.depth[kept] = m.depth[i];
    kept += flag[i] != 0;
  }
  return kept;
}

// value[i] = table[index[i]]
inline void gather(const float* table, const int32_t* index, int64_t count, float* value) {
  int64_t i = 0;
#ifdef PCPT_COMPRESS  // which the compiler's cost model avoids
  for (; i + 16 <= count; i += 16) {
    const __m512i indices = _mm512_loadu_si512(index + i);
    const __m512 found = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), 0xffff, indices, table, 4);
    _mm512_storeu_ps(value + i, found);
  }
#endif
  for (; i < count; ++i) value[i] = table[index[i]];
}

// Clears the flag of points that are not in front or not in the colour image.
inline void check_pixels(const pcpt::MatchView& view, const pcpt::BlockPoints& m, const float* z,
                         int64_t count, int32_t* __restrict__ flag) {
  const float lower = view.lower, upper_u = view.upper_u, upper_v = view.upper_v;
  for (int64_t i = 0; i < count; ++i) {
    flag[i] &= (z[i] > 0.f) & (m.u[i] >= lower) & (m.u[i] < upper_u) & (m.v[i] >= lower) &
               (m.v[i] < upper_v);
  }
}

int64_t inside(const pcpt::Projection& projection, int32_t height, int32_t width, int32_t around,
               const float* points, int64_t count, pcpt::BlockPoints& m) {
  int32_t flag[POINT_BLOCK];
  project(projection, points, count, m.u, m.v, m.depth);
  const float low = static_cast<float>(-around);
  const float high_u = static_cast<float>(width + around);
  const float high_v = static_cast<float>(height + around);
  for (int64_t i = 0; i < count; ++i) {
    const float u = m.u[i] + 0.5f, v = m.v[i] + 0.5f;
    flag[i] = (m.depth[i] > 0.f) & (u >= low) & (u < high_u) & (v >= low) & (v < high_v);
    m.offset[i] = static_cast<int32_t>(i);
  }
  return keep(flag, count, m);
}

int64_t match(const pcpt::MatchView& view, const float* points, int64_t count,
              pcpt::BlockPoints& m) {
  // Of a fused cloud most points lie outside a view: only the others look their depth up.
  count = inside(view.to_depth, view.height, view.width, 0, points, count, m);
  if (count == 0) return 0;
  float z[POINT_BLOCK], measured[POINT_BLOCK];
  int32_t cell[POINT_BLOCK], flag[POINT_BLOCK];
  const int32_t stride = view.width;
  for (int64_t i = 0; i < count; ++i)
    cell[i] = static_cast<int32_t>(m.v[i] + 0.5f) * stride + static_cast<int32_t>(m.u[i] + 0.5f);
  gather(view.depth, cell, count, measured);

  const float absolute = view.absolute_tolerance, relative = view.relative_tolerance;
  const float infinity = std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < count; ++i) {
    z[i] = m.depth[i];
    const float error = z[i] - measured[i];
    // Comparisons with nan are false.
    flag[i] = (measured[i] > 0.f) & (measured[i] < infinity) &
              (std::fabs(error) <= absolute + relative * measured[i]);
    m.depth[i] = error;
  }
  if (view.same_camera) {
    check_pixels(view, m, z, count, flag);
    return keep(flag, count, m);
  }

  const int64_t visible = keep(flag, count, m);
  const pcpt::Projection to_color = view.to_color;
#pragma GCC ivdep  // points are not written
  for (int64_t i = 0; i < visible; ++i) {
    const int32_t at = 3 * m.offset[i];
    const pcpt::Pixel pixel = pcpt::project(to_color, points[at], points[at + 1], points[at + 2]);
    m.u[i] = pixel.u;
    m.v[i] = pixel.v;
    z[i] = pixel.z;
  }
  std::fill_n(flag, visible, 1);
  check_pixels(view, m, z, visible, flag);
  return keep(flag, visible, m);
}

pcpt::Box bounds(const float* points, int64_t count) {
  // Flat over whole runs of points, so that the loop vectorises; a comparison with nan keeps the old.
  constexpr int RUN = 48;
  const float infinity = std::numeric_limits<float>::infinity();
  float low[RUN], high[RUN];
  std::fill(low, low + RUN, infinity);
  std::fill(high, high + RUN, -infinity);
  const int64_t size = 3 * count;
  int64_t i = 0;
  for (; i + RUN <= size; i += RUN) {
    for (int j = 0; j < RUN; ++j) {
      const float value = points[i + j];
      low[j] = value < low[j] ? value : low[j];
      high[j] = value > high[j] ? value : high[j];
    }
  }
  for (int j = 0; i + j < size; ++j) {
    const float value = points[i + j];
    low[j] = value < low[j] ? value : low[j];
    high[j] = value > high[j] ? value : high[j];
  }
  pcpt::Box box;
  for (int axis = 0; axis < 3; ++axis) {
    box.low[axis] = infinity;
    box.high[axis] = -infinity;
    for (int j = axis; j < RUN; j += 3) {
      box.low[axis] = std::min(box.low[axis], low[j]);
      box.high[axis] = std::max(box.high[axis], high[j]);
    }
  }
  return box;
}

constexpr pcpt::ProjectionKernels KERNELS{inside, match, bounds};

}  // namespace PCPT_ISA

#undef PCPT_ISA
#undef PCPT_COMPRESS
