// A thread that runs jobs in order.
#pragma once

#include <functional>
#include <memory>

#include "host/signal.h"

namespace torchair::host {

// The thread starts with the first job. After a fork the child has a worker without jobs.
class Worker {
public:
  // Ends every worker of the process: the running jobs finish, the queued ones do not begin. Called
  // once, when the interpreter exits. Returns false when some job still runs after `limit`.
  static bool end_all(std::chrono::milliseconds limit) noexcept;

  using Job = std::function<void()>; // throws nothing but Stopped

  Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  // Runs what is queued, then joins; a worker that is destroyed by its own job does not join.
  ~Worker();

  // Throws runtime::Error (kResourceAllocFail) when the thread cannot be started.
  void submit(Job job);
  bool is_idle();
  // Returns false when the time is over. Throws Stopped.
  bool await_idle(std::chrono::milliseconds timeout = kForever);

private:
  struct State;
  std::shared_ptr<State> state();

  std::mutex mutex_; // guards state_ against two threads that replace it after a fork
  std::shared_ptr<State> state_;
  std::uint64_t generation_;
};

} // namespace torchair::host
