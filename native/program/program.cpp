#include "program/program.h"

#include <exception>
#include <mutex>
#include <new>

namespace torchair::program {

Program::Program(Parts parts) : parts_(std::move(parts)) {
  check_parts(parts_);
  by_stream_.resize(parts_.n_streams);
  for (std::size_t i = 0; i < parts_.instructions.size(); ++i) {
    const Placement& placement = parts_.instructions[i].placement;
    by_stream_[placement.stream].push_back(i);
    const bool continues = i != 0 && placement.waits.empty() &&
                           parts_.instructions[i - 1].placement.records.empty() &&
                           placement.stream == parts_.instructions[i - 1].placement.stream;
    if (continues)
      ++segments_.back().last;
    else
      segments_.push_back({i, i + 1});
  }
}

void Program::execute(std::size_t instruction, Context& context, const Look& look) const {
  try {
    context.call(instruction);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw OperatorError(instruction, error.what());
  }
  if (look)
    look(instruction);
  context.drop(parts_.instructions[instruction].frees);
}

// One run on several streams. After a failure calls are skipped, but events still recorded, or
// other streams would wait for ever.
class Program::Run {
public:
  Run(const Program& program, Context& context, const Look& look)
      : program_(program), context_(context), look_(look), number_(context.next_run()) {}

  void run_stream(std::uint32_t stream) {
    for (std::size_t i : program_.by_stream_[stream]) {
      const Placement& placement = program_.parts_.instructions[i].placement;
      for (std::uint32_t event : placement.waits)
        context_.event(event).await(number_);
      if (!failed_)
        try_instruction(i);
      for (std::uint32_t event : placement.records)
        context_.event(event).reach(number_);
    }
  }
  void rethrow() {
    if (failure_)
      std::rethrow_exception(failure_);
  }

private:
  void try_instruction(std::size_t instruction) {
    try {
      program_.execute(instruction, context_, look_);
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_)
        failure_ = std::current_exception();
      failed_ = true;
    }
  }

  const Program& program_;
  Context& context_;
  Look look_;
  std::uint64_t number_;
  std::mutex mutex_;
  std::exception_ptr failure_;
  std::atomic<bool> failed_{false};
};

void Program::execute_all(Context& context, const Look& look) const {
  if (parts_.n_streams == 1) {
    for (std::size_t i = 0; i < parts_.instructions.size(); ++i)
      execute(i, context, look);
    return;
  }
  const auto run = std::make_shared<Run>(*this, context, look);
  for (std::uint32_t stream = 1; stream < parts_.n_streams; ++stream)
    context.worker(stream).submit([run, stream] {
      prepare_worker_thread();
      run->run_stream(stream);
    });
  run->run_stream(0);
  for (std::uint32_t stream = 1; stream < parts_.n_streams; ++stream)
    context.worker(stream).await_idle();
  run->rethrow();
}

} // namespace torchair::program
