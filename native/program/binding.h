// Runs of a program, some of whose inputs may be bound for good.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "program/arena.h"
#include "program/program.h"
#include "runtime/runtime.h"

namespace torchair::program {

// What a register held after the call that defined it.
struct Observed {
  bool is_strided = false; // a defined tensor of the CPU with strides; else nothing else counts
  Layout layout = {};
  std::int64_t storage_offset = 0; // in elements
  std::int64_t storage_bytes = 0;
  std::uintptr_t storage = 0; // address of its first byte
};

// A context with the memory that it plans with.
class Space {
public:
  // The memory comes from `pool`, which then stays alive, or from the system.
  Space(std::shared_ptr<const Program> program, std::shared_ptr<runtime::MemoryPool> pool);
  // The memory is a block, which does not stay alive. Without it the context must not run.
  Space(std::shared_ptr<const Program> program, const std::shared_ptr<const Block>& block);
  Space(const Space&) = delete;
  Space& operator=(const Space&) = delete;
  ~Space();
  // Lets the pool give the memory to others, which must not run at the same time.
  void share_memory();
  Context& context() { return *context_; }
  const std::weak_ptr<const Block>& block() const { return block_; }

private:
  std::shared_ptr<const Program> program_;
  std::weak_ptr<const Block> block_;
  std::shared_ptr<runtime::MemoryPool> pool_;
  void* memory_ = nullptr;
  bool shared_ = false;
  std::optional<Context> context_;
};

class Binding : public std::enable_shared_from_this<Binding> {
public:
  // `indices` are the inputs that `tensors` are bound to; the others are free. Throws
  // std::invalid_argument for an index out of range or given twice, or a tensor whose layout the
  // plan does not take. Launches get their memory from `pool`, runs theirs from `arena`; either may
  // be null.
  Binding(std::shared_ptr<const Program> program, std::vector<Register> indices,
          std::vector<Tensor> tensors, std::shared_ptr<runtime::MemoryPool> pool,
          std::shared_ptr<Arena> arena);
  Binding(const Binding&) = delete;
  Binding& operator=(const Binding&) = delete;

  const Program& program() const { return *program_; }
  const std::shared_ptr<const Program>& share_program() const { return program_; }
  // One tensor per output. `inputs` are the free ones, in order. Any number of threads may run at
  // once: each run has a space of its own. Returns nothing, and does nothing, when an input has not
  // the layout that the plan needs. Throws std::invalid_argument for a wrong number of inputs,
  // OperatorError when a call fails; either way nothing is kept alive and later runs work.
  std::optional<std::vector<Tensor>> run(std::span<const Tensor> inputs);
  // A run that looks at registers: first the inputs and constants, then, for
  // each instruction, the registers that `results` names.
  std::vector<Tensor> observe(std::span<const Tensor> inputs,
                              std::span<const std::vector<Register>> results,
                              std::vector<std::vector<Observed>>& observed);

private:
  class Lease;
  void execute(Lease& lease, const Look& look);
  void check_count(std::span<const Tensor> inputs) const;
  bool fits(std::span<const Tensor> inputs) const;
  std::unique_ptr<Space> take(const std::shared_ptr<const Block>& block);
  std::unique_ptr<Space> take_idle(const std::shared_ptr<const Block>& block);
  void give_back(std::unique_ptr<Space> space) noexcept;
  std::unique_ptr<Space> make_space() const;

  friend class Launch;
  std::shared_ptr<const Program> program_;
  std::vector<Register> bound_;
  std::vector<Tensor> tensors_;
  std::vector<Register> free_;
  std::shared_ptr<runtime::MemoryPool> pool_;
  std::shared_ptr<Arena> arena_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Space>> idle_;
};

// A run whose calls are put on streams of a device, to be captured there or to run at once. All its
// addresses are fixed: the inputs are bound, the arena is its own, and outputs that have a fixed
// place are where they were.
class Launch : public std::enable_shared_from_this<Launch> {
public:
  // Throws std::invalid_argument when the binding has free inputs.
  explicit Launch(std::shared_ptr<Binding> binding, std::vector<std::string> labels);

  // Puts the whole program on streams, one per stream of the program. Streams after the first start
  // after what the first one holds now, and the first one continues after they are done.
  void put_on(runtime::Device& device, std::span<const std::shared_ptr<runtime::Stream>> streams);
  // The tensors of the outputs, as the latest run left them.
  std::vector<Tensor> outputs();
  void share_memory() { space_->share_memory(); }
  void run(const Segment& segment);
  std::string describe(const Segment& segment) const;

private:
  std::shared_ptr<Binding> binding_;
  std::vector<std::string> labels_;
  std::unique_ptr<Space> space_;
};

} // namespace torchair::program
