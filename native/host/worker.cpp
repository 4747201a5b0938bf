#include "host/worker.h"

#include <pthread.h>

#include <csignal>
#include <deque>
#include <system_error>
#include <thread>
#include <vector>

#include "runtime/exiting.h"
#include "runtime/status.h"

namespace torchair::host {

// Held by the thread too, which may outlive its worker.
struct Worker::State {
  std::mutex mutex;
  std::condition_variable queued;
  std::deque<Job> jobs;
  std::uint64_t n_submitted = 0;
  std::thread thread;
  bool ends = false;
  std::uint64_t generation = fork_generation();
  Signal done;
  Flag exited;

  bool take(Job& job);
  void work();
};

namespace {

// The interpreter's main thread handles signals.
class SignalsBlocked {
public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &previous_, nullptr); }

private:
  sigset_t previous_;
};

} // namespace

bool Worker::State::take(Job& job) {
  std::unique_lock lock(mutex);
  queued.wait(lock, [&] { return ends || !jobs.empty(); });
  if (jobs.empty() || waits_are_stopped())
    return false;
  job = std::move(jobs.front());
  jobs.pop_front();
  return true;
}

void Worker::State::work() {
  runtime::is_awaited_at_exit = true;
  Job job;
  for (std::uint64_t n = 1; take(job); ++n) {
    try {
      job();
    } catch (const Stopped&) { // the process ends: what waits for this job is told to end, too
    }
    job = nullptr; // before it counts as done: what it held is gone then
    done.reach(n);
  }
  exited.set();
}

namespace {

// Every worker that has a thread. Never destroyed: threads may outlive static objects.
struct Registry {
  std::mutex mutex;
  std::vector<std::weak_ptr<void>> states;
};

Registry& registry() {
  static auto* const all = new Registry;
  return *all;
}

} // namespace

bool Worker::end_all(std::chrono::milliseconds limit) noexcept {
  stop_waits();
  std::vector<std::weak_ptr<void>> states;
  {
    const std::lock_guard lock(registry().mutex);
    states.swap(registry().states);
  }
  const auto end = std::chrono::steady_clock::now() + limit;
  bool all_exited = true;
  for (const auto& weak : states) {
    const auto state = std::static_pointer_cast<State>(weak.lock());
    if (!state || state->generation != fork_generation())
      continue;
    {
      const std::lock_guard lock(state->mutex);
      state->ends = true;
    }
    state->queued.notify_one();
    while (!state->exited.is_set() && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (state->exited.is_set() && state->thread.joinable())
      state->thread.join();
    all_exited = all_exited && state->exited.is_set();
  }
  return all_exited;
}

Worker::Worker() : state_(std::make_shared<State>()), generation_(fork_generation()) {}

Worker::~Worker() {
  if (generation_ != fork_generation()) {
    // The thread is the parent's, and so may be the mutex: neither can be ended here.
    new std::shared_ptr<State>(std::move(state_));
    return;
  }
  {
    const std::lock_guard lock(state_->mutex);
    state_->ends = true;
  }
  state_->queued.notify_one();
  if (!state_->thread.joinable())
    return;
  if (state_->thread.get_id() == std::this_thread::get_id())
    state_->thread.detach();
  else
    state_->thread.join();
}

std::shared_ptr<Worker::State> Worker::state() {
  const std::lock_guard lock(mutex_);
  if (generation_ != fork_generation()) {
    new std::shared_ptr<State>(std::move(state_)); // as in the destructor
    state_ = std::make_shared<State>();
    generation_ = fork_generation();
  }
  return state_;
}

void Worker::submit(Job job) {
  const std::shared_ptr<State> state = this->state();
  {
    const std::lock_guard lock(state->mutex);
    if (!state->thread.joinable()) {
      try {
        const SignalsBlocked inherited;
        state->thread = std::thread([state] { state->work(); });
        const std::lock_guard registered(registry().mutex);
        std::erase_if(registry().states, [](const auto& weak) { return weak.expired(); });
        registry().states.push_back(state);
      } catch (const std::system_error& error) {
        throw runtime::Error(runtime::Code::kResourceAllocFail, "a stream's thread cannot start",
                             error.what());
      }
    }
    state->jobs.push_back(std::move(job));
    ++state->n_submitted;
  }
  state->queued.notify_one();
}

bool Worker::is_idle() {
  const std::shared_ptr<State> state = this->state();
  const std::lock_guard lock(state->mutex);
  return state->done.has_reached(state->n_submitted);
}

bool Worker::await_idle(std::chrono::milliseconds timeout) {
  const std::shared_ptr<State> state = this->state();
  std::uint64_t n_submitted = 0;
  {
    const std::lock_guard lock(state->mutex);
    n_submitted = state->n_submitted;
  }
  return state->done.await(n_submitted, timeout);
}

} // namespace torchair::host
