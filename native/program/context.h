// The registers of one run, and how each kind of call is made on them.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "host/signal.h"
#include "host/worker.h"
#include "program/instruction.h"
#include "program/parts.h"

namespace torchair::program {

// Register numbering: the inputs, then the constants, then the temporaries. Every register is one
// handle for the life of the context, so that the handles of each call are collected only once.
class Context {
public:
  // `arena` has parts.arena_bytes bytes, 64-byte aligned, and outlives the context.
  Context(const Parts& parts, void* arena);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Gives inputs their tensors. The context keeps a reference to each until unbind().
  void bind(std::span<const Register> indices, std::span<const Tensor> inputs);
  void unbind(std::span<const Register> indices) noexcept;

  // Makes a call; what it frees is still there.
  void call(std::size_t instruction);

  // Another reference to what the register holds.
  Tensor share(Register index) const { return Tensor::share(registers_[index]); }
  TensorHandle get(Register index) const { return registers_[index]; }
  // Drops what temporaries hold. Inputs, constants and what has a fixed place are left alone.
  void drop(std::span<const Register> indices) noexcept;
  void drop_all() noexcept;

  // For programs of several streams: the threads of streams 1 ..., and the events.
  host::Worker& worker(std::uint32_t stream) { return *workers_[stream - 1]; }
  host::Signal& event(std::uint32_t event) { return events_[event]; }
  std::uint64_t next_run() { return ++n_runs_; }

private:
  struct View {
    const FixedView* plan;
    void* address;
  };

  void place_fixed(void* arena);
  void collect_handles();
  void move_views();
  void make(const ProxyCall& call, std::size_t instruction);
  bool make(const RowProduct& product, const TensorHandle* operands);
  void make(const DispatcherCall& call);
  void make(const ForeignCall& call);
  StableValue build(const Argument& argument) const;
  StableValue build_list(const Argument& argument) const;
  void store(Register index, const Tensor& value) noexcept;
  void store_list(const Result& result, StableListHandle list);

  const Parts& parts_;
  std::size_t first_temporary_;
  std::vector<Tensor> owned_; // of inputs and temporaries
  std::vector<TensorHandle> registers_;
  std::vector<bool> is_fixed_;
  std::vector<View> views_;
  std::vector<TensorHandle> handles_; // of every proxy call, one behind the other
  std::vector<std::size_t> first_handle_;
  Tensor undefined_;
  std::vector<std::unique_ptr<host::Worker>> workers_;
  std::vector<host::Signal> events_;
  std::uint64_t n_runs_ = 0;
};

} // namespace torchair::program
