#include "host/signal.h"

#include <pthread.h>

#include <algorithm>
#include <thread>

namespace torchair::host {
namespace {

using Clock = std::chrono::steady_clock;

// A sleeper looks this often whether the process is about to end.
constexpr std::chrono::milliseconds kSlice{50};
// About 20 us: a partner that runs answers within that, one that does not takes a time slice.
constexpr int kSpins = 2000;

std::atomic<bool> stopped{false};
std::atomic<std::uint64_t> generation{0};

const bool watching_forks = [] {
  pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1); });
  return true;
}();

void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Waits on a condition in slices. `lock` is held.
template <typename Reached>
bool wait_in_slices(std::condition_variable& changed, std::unique_lock<std::mutex>& lock,
                    std::chrono::milliseconds timeout, Reached reached) {
  const Clock::time_point end =
      timeout < timeout.zero() ? Clock::time_point::max() : Clock::now() + timeout;
  while (!reached()) {
    if (waits_are_stopped())
      throw Stopped();
    const Clock::time_point now = Clock::now();
    if (now >= end)
      return false;
    changed.wait_until(lock, std::min(end, now + kSlice));
  }
  return true;
}

} // namespace

void stop_waits() noexcept { stopped.store(true); }

bool waits_are_stopped() noexcept { return stopped.load(); }

std::uint64_t fork_generation() noexcept {
  static_cast<void>(watching_forks);
  return generation.load(std::memory_order_relaxed);
}

void Signal::reach(std::uint64_t value) noexcept {
  std::uint64_t current = value_.load();
  while (current < value && !value_.compare_exchange_weak(current, value)) {
  }
  if (sleepers_.load() == 0)
    return;
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

bool Signal::await(std::uint64_t value, std::chrono::milliseconds timeout) {
  static const int spins = std::thread::hardware_concurrency() > 1 ? kSpins : 0;
  for (int i = 0; i < spins; ++i) {
    if (has_reached(value))
      return true;
    pause();
  }
  return sleep(value, timeout);
}

// The sleeper counts itself before it looks, reach() stores before it counts the sleepers: one of
// the two sees the other.
bool Signal::sleep(std::uint64_t value, std::chrono::milliseconds timeout) {
  struct Count {
    std::atomic<int>& sleepers;
    explicit Count(std::atomic<int>& counted) : sleepers(counted) { ++sleepers; }
    Count(const Count&) = delete;
    Count& operator=(const Count&) = delete;
    ~Count() { --sleepers; }
  };
  std::unique_lock lock(mutex_);
  const Count count(sleepers_);
  return wait_in_slices(changed_, lock, timeout, [&] { return has_reached(value); });
}

void Flag::set() noexcept {
  const std::lock_guard lock(mutex_);
  set_ = true;
  changed_.notify_all();
}

void Flag::clear() noexcept {
  const std::lock_guard lock(mutex_);
  set_ = false;
}

bool Flag::is_set() const noexcept {
  const std::lock_guard lock(mutex_);
  return set_;
}

bool Flag::await(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return wait_in_slices(changed_, lock, timeout, [&] { return set_; });
}

} // namespace torchair::host
