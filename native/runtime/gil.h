// Python's lock, given up for a scope.
#pragma once

#include <Python.h>
#include <unistd.h>

#include "runtime/exiting.h"

namespace torchair::runtime {

// A daemon thread that comes back while the interpreter exits stays here: taking the lock would end
// it inside C++ frames that cannot be unwound, and the process with it.
class ReleasedGil {
public:
  ReleasedGil() : state_(PyEval_SaveThread()) {}
  ReleasedGil(const ReleasedGil&) = delete;
  ReleasedGil& operator=(const ReleasedGil&) = delete;
  ~ReleasedGil() {
    while (is_left_behind())
      pause();
    PyEval_RestoreThread(state_);
  }

private:
  PyThreadState* state_;
};

} // namespace torchair::runtime
