// The scheduler of the emulated GPU: fibers, barriers and their order.
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <numeric>
#include <random>
#include <vector>

#include "cuda_runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define PCPT_SANITIZED 1
#endif

namespace emulator {
namespace {

constexpr size_t STACK = 256 * 1024;
constexpr size_t MAX_THREADS = 1024, MAX_SHARED = 227 * 1024;  // of a block, as on Hopper

enum class State { ready, at_block_barrier, at_warp_barrier, done };

struct Fiber {
  ucontext_t context;
  Thread thread;
  State state;
  unsigned mask;  // whom it waits for at a warp barrier
  void* sanitizer = nullptr;
};

void* stack_of(size_t index) {  // kept for the life of the process; pages are touched on use
  static std::vector<void*> stacks;
  while (stacks.size() <= index) {
    void* memory = mmap(nullptr, STACK, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    stacks.push_back(memory);
  }
  return stacks[index];
}

struct Block {
  std::vector<Fiber> fibers;
  std::vector<uint64_t> slots;  // one a thread
  std::vector<uint64_t> shared;
  const std::function<void()>* body = nullptr;
  ucontext_t scheduler;
  size_t running = 0;
  void* sanitizer = nullptr;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_size = 0;
};

Block block;  // kernels run one block at a time, on the thread that launched them

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "cuda emulator: %s\n", what);
  std::abort();
}

void yield() {
  Fiber& fiber = block.fibers[block.running];
#ifdef PCPT_SANITIZED
  __sanitizer_start_switch_fiber(fiber.state == State::done ? nullptr : &fiber.sanitizer,
                                 block.scheduler_stack, block.scheduler_stack_size);
#endif
  swapcontext(&fiber.context, &block.scheduler);
#ifdef PCPT_SANITIZED
  __sanitizer_finish_switch_fiber(fiber.sanitizer, nullptr, nullptr);
#endif
}

void enter() {
#ifdef PCPT_SANITIZED
  __sanitizer_finish_switch_fiber(nullptr, &block.scheduler_stack, &block.scheduler_stack_size);
#endif
  (*block.body)();
  block.fibers[block.running].state = State::done;
  yield();
}

void resume(size_t index) {
  block.running = index;
#ifdef PCPT_SANITIZED
  __sanitizer_start_switch_fiber(&block.sanitizer, stack_of(index), STACK);
#endif
  swapcontext(&block.scheduler, &block.fibers[index].context);
#ifdef PCPT_SANITIZED
  __sanitizer_finish_switch_fiber(block.sanitizer, nullptr, nullptr);
#endif
}

// Lets go the warps of whose awaited lanes all wait, with one mask. Whether any did.
bool release_warps() {
  bool released = false;
  const size_t count = block.fibers.size();
  for (size_t first = 0; first < count; first += 32) {
    for (size_t i = first; i < std::min(first + 32, count); ++i) {
      if (block.fibers[i].state != State::at_warp_barrier) continue;
      const unsigned mask = block.fibers[i].mask;
      bool all = true;
      for (int lane = 0; lane < 32; ++lane) {
        if (!(mask >> lane & 1)) continue;
        const size_t other = first + lane;
        if (other >= count) continue;  // lanes beyond the block are absent on a GPU as well
        all &= block.fibers[other].state == State::at_warp_barrier &&
               block.fibers[other].mask == mask;
      }
      if (!all) continue;
      for (int lane = 0; lane < 32; ++lane)
        if ((mask >> lane & 1) && first + lane < count)
          block.fibers[first + lane].state = State::ready;
      released = true;
    }
  }
  return released;
}

// Whether the threads that still run all wait at the block's barrier; lets them go.
bool release_block() {
  bool any = false;
  for (const Fiber& fiber : block.fibers) {
    if (fiber.state != State::done && fiber.state != State::at_block_barrier) return false;
    any |= fiber.state == State::at_block_barrier;
  }
  for (Fiber& fiber : block.fibers)
    if (fiber.state == State::at_block_barrier) fiber.state = State::ready;
  return any;
}

std::vector<size_t> shuffled(size_t count, std::mt19937& random) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t(0));
  for (size_t i = count; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  return order;
}

void run_block(std::mt19937& random) {
  for (size_t i = 0; i < block.fibers.size(); ++i) {
    Fiber& fiber = block.fibers[i];
    fiber.state = State::ready;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stack_of(i);
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  for (;;) {
    bool progress = false;
    for (const size_t i : shuffled(block.fibers.size(), random)) {
      if (block.fibers[i].state != State::ready) continue;
      resume(i);
      progress = true;
    }
    if (progress) continue;
    if (release_warps() || release_block()) continue;
    for (const Fiber& fiber : block.fibers)
      if (fiber.state != State::done) fail("threads wait at barriers that the others never reach");
    return;
  }
}

}  // namespace

const Thread& current() { return block.fibers[block.running].thread; }
void* dynamic_shared() { return block.shared.data(); }

uint64_t* warp_slots() {
  return block.slots.data() + block.running / 32 * 32;
}

void block_barrier() {
  block.fibers[block.running].state = State::at_block_barrier;
  yield();
}

void warp_barrier(unsigned mask) {
  Fiber& fiber = block.fibers[block.running];
  if (!(mask >> fiber.thread.lane & 1)) fail("a lane waits at a warp barrier that leaves it out");
  fiber.mask = mask;
  fiber.state = State::at_warp_barrier;
  yield();
}

void run(dim3 blocks, dim3 threads, size_t shared_bytes, const std::function<void()>& body) {
  const size_t count = size_t(threads.x) * threads.y * threads.z;
  if (count == 0 || count > MAX_THREADS) fail("a block needs 1 to 1,024 threads");
  if (shared_bytes > MAX_SHARED) fail("more shared memory than a block has");
  if (blocks.y > 65535 || blocks.z > 65535 || blocks.x > 0x7fffffffu)
    fail("a grid has at most 2^31 - 1 x 65,535 x 65,535 blocks");
  if (block.body) fail("a kernel cannot launch another");
  static std::mt19937 random(0);  // of its own for each process, so that a failure repeats
  block.body = &body;
  block.fibers.assign(count, {});
  block.slots.assign((count + 31) / 32 * 32, 0);
  for (size_t i = 0; i < count; ++i) {
    Thread& thread = block.fibers[i].thread;
    thread.thread_index = {static_cast<unsigned>(i % threads.x),
                           static_cast<unsigned>(i / threads.x % threads.y),
                           static_cast<unsigned>(i / threads.x / threads.y)};
    thread.block_size = {threads.x, threads.y, threads.z};
    thread.grid_size = {blocks.x, blocks.y, blocks.z};
    thread.lane = static_cast<int>(i % 32);
  }
  const size_t total = size_t(blocks.x) * blocks.y * blocks.z;
  for (const size_t index : shuffled(total, random)) {
    for (Fiber& fiber : block.fibers)
      fiber.thread.block_index = {static_cast<unsigned>(index % blocks.x),
                                  static_cast<unsigned>(index / blocks.x % blocks.y),
                                  static_cast<unsigned>(index / blocks.x / blocks.y)};
    block.shared.assign((shared_bytes + 7) / 8, 0xcdcdcdcdcdcdcdcdu);  // never zero by luck
    run_block(random);
  }
  block.body = nullptr;
}

}  // namespace emulator
