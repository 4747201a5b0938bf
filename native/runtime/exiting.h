// Which threads take part in the end of the process.
#pragma once

#include <atomic>
#include <thread>

namespace torchair::runtime {

// The thread that ends the interpreter, once it has begun to.
inline std::atomic<std::thread::id> exiting_thread{};

// Whether this thread is one that the end of the interpreter waits for.
inline thread_local bool is_awaited_at_exit = false;

// Whether this thread may not return to an interpreter that is ending.
inline bool is_left_behind() {
  const std::thread::id exiting = exiting_thread.load();
  return exiting != std::thread::id() && exiting != std::this_thread::get_id() &&
         !is_awaited_at_exit;
}

} // namespace torchair::runtime
