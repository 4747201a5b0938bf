// What threads of the host device wait for.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace torchair::host {

// Thrown in a worker that waits for something when the process is about to end.
class Stopped {};

// Makes every wait, now and later, end with Stopped. Called once, when the interpreter exits.
void stop_waits() noexcept;
bool waits_are_stopped() noexcept;

// Counts how often the process was forked: threads of an older generation do not exist any more.
std::uint64_t fork_generation() noexcept;

inline constexpr std::chrono::milliseconds kForever{-1};

// A number that only grows, and that threads wait for.
class Signal {
public:
  void reach(std::uint64_t value) noexcept;
  bool has_reached(std::uint64_t value) const noexcept { return value_.load() >= value; }
  // Returns false when the time is over. Spins a little, then sleeps. Throws Stopped.
  bool await(std::uint64_t value, std::chrono::milliseconds timeout = kForever);

private:
  bool sleep(std::uint64_t value, std::chrono::milliseconds timeout);

  std::atomic<std::uint64_t> value_{0};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

// A flag that is set and cleared, and that threads wait for.
class Flag {
public:
  void set() noexcept;
  void clear() noexcept;
  bool is_set() const noexcept;
  // Returns false when the time is over. Throws Stopped.
  bool await(std::chrono::milliseconds timeout = kForever);

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

} // namespace torchair::host
