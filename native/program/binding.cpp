#include "program/binding.h"

#include <algorithm>
#include <cstdlib>
#include <new>

namespace torchair::program {
namespace {

constexpr std::size_t kAlignment = 64;

Observed look_at(TensorHandle tensor) {
  const CShim& torch = cshim();
  Observed found;
  bool is_defined = false;
  check(torch.is_defined(tensor, &is_defined));
  if (!is_defined)
    return found;
  std::int32_t layout = 0;
  std::int32_t device = 0;
  check(torch.get_layout(tensor, &layout));
  check(torch.get_device_type(tensor, &device));
  if (layout != torch.strided || device != torch.cpu)
    return found;
  found.is_strided = true;
  std::int64_t n_dims = 0;
  std::int64_t* sizes = nullptr;
  std::int64_t* strides = nullptr;
  void* address = nullptr;
  check(torch.get_dtype(tensor, &found.layout.dtype));
  check(torch.get_dim(tensor, &n_dims));
  check(torch.get_sizes(tensor, &sizes));
  check(torch.get_strides(tensor, &strides));
  check(torch.get_storage_offset(tensor, &found.storage_offset));
  check(torch.get_storage_size(tensor, &found.storage_bytes));
  check(torch.get_data_ptr(tensor, &address));
  found.layout.sizes.assign(sizes, sizes + n_dims);
  found.layout.strides.assign(strides, strides + n_dims);
  found.storage =
      reinterpret_cast<std::uintptr_t>(address) -
      static_cast<std::uintptr_t>(found.storage_offset) * torch.element_size(found.layout.dtype);
  return found;
}

} // namespace

Space::Space(std::shared_ptr<const Program> program, std::shared_ptr<runtime::MemoryPool> pool)
    : program_(std::move(program)), pool_(std::move(pool)) {
  const auto bytes = static_cast<std::size_t>(program_->parts().arena_bytes);
  if (bytes != 0) {
    const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    memory_ = pool_ ? pool_->allocate(rounded) : std::aligned_alloc(kAlignment, rounded);
    if (memory_ == nullptr)
      throw std::bad_alloc();
  }
  context_.emplace(program_->parts(), memory_);
}

Space::Space(std::shared_ptr<const Program> program, const std::shared_ptr<const Block>& block)
    : program_(std::move(program)), block_(block) {
  context_.emplace(program_->parts(), block->memory());
}

Space::~Space() {
  context_.reset();
  if (memory_ == nullptr)
    return;
  if (!pool_)
    std::free(memory_);
  else if (!shared_)
    pool_->free(memory_);
}

void Space::share_memory() {
  if (!pool_ || memory_ == nullptr || shared_)
    return;
  pool_->free(memory_);
  shared_ = true;
}

Binding::Binding(std::shared_ptr<const Program> program, std::vector<Register> indices,
                 std::vector<Tensor> tensors, std::shared_ptr<runtime::MemoryPool> pool,
                 std::shared_ptr<Arena> arena)
    : program_(std::move(program)), bound_(std::move(indices)), tensors_(std::move(tensors)),
      pool_(std::move(pool)), arena_(std::move(arena)) {
  const Parts& parts = program_->parts();
  std::vector<bool> is_bound(parts.n_inputs, false);
  for (std::size_t i = 0; i < bound_.size(); ++i) {
    const Register index = bound_[i];
    if (index >= parts.n_inputs || is_bound[index])
      throw std::invalid_argument("input " + std::to_string(index) +
                                  " does not exist or is bound twice");
    if (!parts.input_layouts.empty() && !has_layout(tensors_[i].get(), parts.input_layouts[index]))
      throw std::invalid_argument("input " + std::to_string(index) +
                                  " has not the layout of the plan");
    is_bound[index] = true;
  }
  for (Register index = 0; index < parts.n_inputs; ++index)
    if (!is_bound[index])
      free_.push_back(index);
}

std::unique_ptr<Space> Binding::make_space() const {
  auto space = std::make_unique<Space>(program_, pool_);
  space->context().bind(bound_, tensors_);
  return space;
}

std::unique_ptr<Space> Binding::take(const std::shared_ptr<const Block>& block) {
  if (auto space = take_idle(block))
    return space;
  if (!block)
    return make_space();
  auto space = std::make_unique<Space>(program_, block);
  space->context().bind(bound_, tensors_);
  return space;
}

// Spaces whose block is no more are of no use.
std::unique_ptr<Space> Binding::take_idle(const std::shared_ptr<const Block>& block) {
  const std::lock_guard lock(mutex_);
  if (block)
    std::erase_if(idle_, [](const auto& space) { return space->block().expired(); });
  const auto found = std::ranges::find_if(
      idle_, [&block](const auto& space) { return space->block().lock() == block; });
  if (found == idle_.end())
    return nullptr;
  auto space = std::move(*found);
  idle_.erase(found);
  return space;
}

void Binding::give_back(std::unique_ptr<Space> space) noexcept {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(space));
}

// A block of an arena for the length of one run; none without an arena.
class BlockLease {
public:
  BlockLease(const std::shared_ptr<Arena>& arena, std::int64_t bytes)
      : arena_(bytes == 0 ? nullptr : arena) {
    if (arena_)
      block_ = arena_->take(static_cast<std::size_t>(bytes));
  }
  BlockLease(const BlockLease&) = delete;
  BlockLease& operator=(const BlockLease&) = delete;
  ~BlockLease() {
    if (block_)
      arena_->give_back(std::move(block_));
  }
  const std::shared_ptr<const Block>& block() const { return block_; }
  // Keeps the block for good.
  void abandon() { new std::shared_ptr<const Block>(std::move(block_)); }

private:
  std::shared_ptr<Arena> arena_;
  std::shared_ptr<const Block> block_;
};

// A space for the length of one run, clean again at its end however it ends.
class Binding::Lease {
public:
  Lease(Binding& binding, std::span<const Tensor> inputs)
      : binding_(binding), block_(binding.arena_, binding.program_->parts().arena_bytes),
        space_(binding.take(block_.block())) {
    space_->context().bind(binding_.free_, inputs);
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    if (abandoned_) {
      space_.release(); // a thread may still use it
      block_.abandon();
      return;
    }
    // On several streams, what no call is the last to use is dropped here.
    if (finished_ && binding_.program_->parts().n_streams == 1)
      space_->context().drop(binding_.program_->parts().outputs);
    else
      space_->context().drop_all();
    space_->context().unbind(binding_.free_);
    binding_.give_back(std::move(space_));
  }
  Context& context() { return space_->context(); }
  std::vector<Tensor> finish() {
    std::vector<Tensor> outputs;
    const auto& registers = binding_.program_->parts().outputs;
    outputs.reserve(registers.size());
    for (Register index : registers)
      outputs.push_back(context().share(index));
    finished_ = true;
    return outputs;
  }
  void abandon() { abandoned_ = true; }

private:
  Binding& binding_;
  BlockLease block_;
  std::unique_ptr<Space> space_;
  bool finished_ = false;
  bool abandoned_ = false;
};

void Binding::check_count(std::span<const Tensor> inputs) const {
  if (inputs.size() != free_.size())
    throw std::invalid_argument("the program takes " + std::to_string(free_.size()) +
                                " inputs, not " + std::to_string(inputs.size()));
}

bool Binding::fits(std::span<const Tensor> inputs) const {
  const auto& layouts = program_->parts().input_layouts;
  if (layouts.empty())
    return true;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (!has_layout(inputs[i].get(), layouts[free_[i]]))
      return false;
  return true;
}

std::optional<std::vector<Tensor>> Binding::run(std::span<const Tensor> inputs) {
  check_count(inputs);
  if (!fits(inputs))
    return std::nullopt;
  Lease lease(*this, inputs);
  execute(lease, nullptr);
  return lease.finish();
}

void Binding::execute(Lease& lease, const Look& look) {
  try {
    program_->execute_all(lease.context(), look);
  } catch (const host::Stopped&) {
    lease.abandon();
    throw std::runtime_error("the process ends");
  }
}

std::vector<Tensor> Binding::observe(std::span<const Tensor> inputs,
                                     std::span<const std::vector<Register>> results,
                                     std::vector<std::vector<Observed>>& observed) {
  check_count(inputs);
  const Parts& parts = program_->parts();
  if (results.size() != parts.instructions.size())
    throw std::invalid_argument("one list of results per instruction is needed");
  Lease lease(*this, inputs);
  Context& context = lease.context();
  observed.resize(parts.instructions.size() + 1);
  for (Register index = 0; index < parts.first_temporary(); ++index)
    observed[0].push_back(look_at(context.get(index)));
  execute(lease, [&](std::size_t instruction) { // each instruction has a row of its own
    for (Register index : results[instruction])
      observed[instruction + 1].push_back(look_at(context.get(index)));
  });
  return lease.finish();
}

namespace {

class SegmentTask final : public runtime::Task {
public:
  SegmentTask(std::shared_ptr<Launch> launch, Segment segment)
      : launch_(std::move(launch)), segment_(segment) {}
  void run(void* native_stream) override {
    if (native_stream == nullptr)
      prepare_worker_thread();
    launch_->run(segment_);
  }
  std::string describe() const override { return launch_->describe(segment_); }

private:
  std::shared_ptr<Launch> launch_;
  Segment segment_;
};

} // namespace

Launch::Launch(std::shared_ptr<Binding> binding, std::vector<std::string> labels)
    : binding_(std::move(binding)), labels_(std::move(labels)) {
  if (!binding_->free_.empty())
    throw std::invalid_argument("a program is launched with all of its inputs bound, " +
                                std::to_string(binding_->free_.size()) + " are free");
  space_ = binding_->make_space();
}

void Launch::put_on(runtime::Device& device,
                    std::span<const std::shared_ptr<runtime::Stream>> streams) {
  const Program& program = binding_->program();
  const Parts& parts = program.parts();
  if (streams.size() != parts.n_streams)
    throw std::invalid_argument("the program takes " + std::to_string(parts.n_streams) +
                                " streams, not " + std::to_string(streams.size()));
  std::vector<std::shared_ptr<runtime::Event>> events;
  for (std::uint32_t i = 0; i < parts.n_events + parts.n_streams; ++i)
    events.push_back(device.create_event());
  const auto& fork = events[parts.n_events]; // the others behind the program's are the joins
  if (parts.n_streams > 1)
    streams[0]->record(fork);
  for (std::uint32_t i = 1; i < parts.n_streams; ++i)
    streams[i]->wait(fork);
  for (const Segment& segment : program.segments()) {
    const Placement& first = parts.instructions[segment.first].placement;
    const auto& stream = streams[first.stream];
    for (std::uint32_t event : first.waits)
      stream->wait(events[event]);
    stream->launch(std::make_shared<SegmentTask>(shared_from_this(), segment));
    for (std::uint32_t event : parts.instructions[segment.last - 1].placement.records)
      stream->record(events[event]);
  }
  for (std::uint32_t i = 1; i < parts.n_streams; ++i) {
    streams[i]->record(events[parts.n_events + i]);
    streams[0]->wait(events[parts.n_events + i]);
  }
}

void Launch::run(const Segment& segment) {
  for (std::size_t i = segment.first; i < segment.last; ++i)
    binding_->program().execute(i, space_->context());
}

std::string Launch::describe(const Segment& segment) const {
  if (segment.first >= labels_.size())
    return "instructions " + std::to_string(segment.first) + " to " +
           std::to_string(segment.last - 1);
  const std::size_t others = segment.last - segment.first - 1;
  return labels_[segment.first] + (others == 0 ? "" : " and " + std::to_string(others) + " more");
}

std::vector<Tensor> Launch::outputs() {
  std::vector<Tensor> outputs;
  for (Register index : binding_->program().parts().outputs)
    outputs.push_back(space_->context().share(index));
  return outputs;
}

} // namespace torchair::program
