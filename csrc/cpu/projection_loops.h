// The loops of projection.h for one instruction set: included once for each, with PCPT_ISA its
// namespace and PCPT_COMPRESS where it is AVX-512. Loops are plain and branch-free, for the compiler
// to vectorise; & and | rather than && and ||, which would be branches.
namespace PCPT_ISA {

using pcpt::POINT_BLOCK;

constexpr int64_t LANES = 16;

// Entries of a block, not necessarily those of a BlockPoints.
struct Columns {
  const int32_t* offset;
  const float *u, *v, *depth;
};

inline Columns columns(const pcpt::BlockPoints& m) { return {m.offset, m.u, m.v, m.depth}; }

// Appends the entries whose flag is not 0 to m, which holds `kept`, and returns how many it holds
// then. They may be entries of m itself, from number `kept` on.
inline int64_t keep(const int32_t* flag, const Columns& from, int64_t count, pcpt::BlockPoints& m,
                    int64_t kept) {
  int64_t i = 0;
#ifdef PCPT_COMPRESS
  for (; i + LANES <= count; i += LANES) {
    const __m512i flags = _mm512_loadu_si512(flag + i);
    const __mmask16 mask = _mm512_test_epi32_mask(flags, flags);
    if (mask == 0) continue;
    // Whole vectors are stored; as no more are kept than were read, none is overwritten before.
    const __m512i offset = _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(from.offset + i));
    const __m512 u = _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(from.u + i));
    const __m512 v = _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(from.v + i));
    const __m512 depth = _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(from.depth + i));
    _mm512_storeu_si512(m.offset + kept, offset);
    _mm512_storeu_ps(m.u + kept, u);
    _mm512_storeu_ps(m.v + kept, v);
    _mm512_storeu_ps(m.depth + kept, depth);
    kept += __builtin_popcount(mask);
  }
#endif
  for (; i < count; ++i) {
    m.offset[kept] = from.offset[i];
    m.u[kept] = from.u[i];
    m.v[kept] = from.v[i];
    m.depth[kept] = from.depth[i];
    kept += flag[i] != 0;
  }
  return kept;
}

// Bounds of u and v per unit of z, so that points can be told apart before they are divided. A pixel
// and more too wide: nothing is lost that rounding would put inside.
struct Margins {
  float low, high_u, high_v;

  Margins(int32_t height, int32_t width, int32_t around)
      : low(static_cast<float>(-around) - 1.f),
        high_u(static_cast<float>(width + around) * 1.000001f + 1.f),
        high_v(static_cast<float>(height + around) * 1.000001f + 1.f) {}
};

// Of at most LANES points from number `first` on: appends those that may be in the image. Cameras are
// passed by value: what the output might alias would be loaded again for every vector.
inline int64_t append_near(pcpt::Projection projection, Margins margins, const float* points,
                           int64_t first, int64_t count, pcpt::BlockPoints& m, int64_t kept) {
  int32_t flag[LANES], offset[LANES];
  float u[LANES], v[LANES], z[LANES];
#pragma GCC ivdep
#pragma GCC unroll 1
  for (int64_t i = 0; i < count; ++i) {
    const float* point = points + 3 * (first + i);
    const pcpt::Pixel pixel = pcpt::project_undivided(projection, point[0], point[1], point[2]);
    const float low = margins.low * pixel.z;
    flag[i] = (pixel.z > 0.f) & (pixel.u >= low) & (pixel.u < margins.high_u * pixel.z) &
              (pixel.v >= low) & (pixel.v < margins.high_v * pixel.z);
    offset[i] = static_cast<int32_t>(first + i);
    u[i] = pixel.u;
    v[i] = pixel.v;
    z[i] = pixel.z;
  }
  return keep(flag, {offset, u, v, z}, count, m, kept);
}

// Those of a block's points that may be in the image, with u and v not yet divided by z.
inline int64_t near_image(pcpt::Projection projection, Margins margins, const float* points,
                          int64_t count, pcpt::BlockPoints& m) {
  constexpr int64_t AHEAD = 512;  // numbers; by itself the hardware fetches ahead within a page only
  int64_t kept = 0, first = 0;
  for (; first + LANES <= count; first += LANES) {
    for (int64_t i = 0; i < 3 * LANES; i += 16) __builtin_prefetch(points + 3 * first + AHEAD + i);
    kept = append_near(projection, margins, points, first, LANES, m, kept);
  }
  return append_near(projection, margins, points, first, count - first, m, kept);
}

// Points of a block that may be in the image, divided, and flags for those that are.
inline int64_t project(const pcpt::Projection& projection, int32_t height, int32_t width,
                       int32_t around, const float* points, int64_t count, pcpt::BlockPoints& m,
                       int32_t* __restrict__ flag) {
  // Of a fused cloud most points lie outside a view: only the others are divided.
  count = near_image(projection, Margins(height, width, around), points, count, m);
  const float low = static_cast<float>(-around);
  const float high_u = static_cast<float>(width + around);
  const float high_v = static_cast<float>(height + around);
  for (int64_t i = 0; i < count; ++i) {
    m.u[i] /= m.depth[i];
    m.v[i] /= m.depth[i];
    const float u = m.u[i] + 0.5f, v = m.v[i] + 0.5f;
    flag[i] = (u >= low) & (u < high_u) & (v >= low) & (v < high_v);
  }
  return count;
}

// value[i] = table[index[i]]
inline void gather(const float* table, const int32_t* index, int64_t count, float* value) {
  int64_t i = 0;
#ifdef PCPT_COMPRESS  // which the compiler's cost model avoids
  for (; i + LANES <= count; i += LANES) {
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
  count = project(projection, height, width, around, points, count, m, flag);
  return keep(flag, columns(m), count, m, 0);
}

int64_t match(const pcpt::MatchView& view, const float* points, int64_t count,
              pcpt::BlockPoints& m) {
  float z[POINT_BLOCK], measured[POINT_BLOCK];
  int32_t cell[POINT_BLOCK], flag[POINT_BLOCK];
  count = project(view.to_depth, view.height, view.width, 0, points, count, m, flag);
  const int32_t stride = view.width;
  for (int64_t i = 0; i < count; ++i) {
    const float u = flag[i] ? m.u[i] : 0.f, v = flag[i] ? m.v[i] : 0.f;  // any pixel will do
    cell[i] = static_cast<int32_t>(v + 0.5f) * stride + static_cast<int32_t>(u + 0.5f);
  }
  gather(view.depth, cell, count, measured);

  const float absolute = view.absolute_tolerance, relative = view.relative_tolerance;
  const float infinity = std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < count; ++i) {
    z[i] = m.depth[i];
    const float error = z[i] - measured[i];
    // Comparisons with nan are false.
    flag[i] &= (measured[i] > 0.f) & (measured[i] < infinity) &
               (std::fabs(error) <= absolute + relative * measured[i]);
    m.depth[i] = error;
  }
  if (view.same_camera) {
    check_pixels(view, m, z, count, flag);
    return keep(flag, columns(m), count, m, 0);
  }

  const int64_t visible = keep(flag, columns(m), count, m, 0);
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
  return keep(flag, columns(m), visible, m, 0);
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
