#include "cann/host_run.h"

namespace torchair::cann {
namespace {

// Inputs and outputs of one run on the device. Blocks are shared because an output may be an input.
class DeviceTensors {
public:
  DeviceTensors(const Engine& engine, std::span<const TensorView> inputs) : engine_(engine) {
    for (const TensorView& view : inputs)
      add_input(view);
  }

  void add_outputs(std::span<const TensorView> outputs, std::span<const Alias> aliases) {
    outputs_.assign(outputs.begin(), outputs.end());
    output_blocks_.resize(outputs.size());
    for (const auto& [output, input] : aliases)
      output_blocks_.at(output) = input_blocks_.at(input);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (output_blocks_[i] == nullptr)
        output_blocks_[i] = allocate(outputs[i].bytes);
      outputs_[i].data = output_blocks_[i]->address();
    }
  }

  std::span<const TensorView> inputs() const noexcept { return inputs_; }
  std::span<const TensorView> outputs() const noexcept { return outputs_; }

  // The outputs with the memory they lie in.
  std::vector<Output> take() {
    std::vector<Output> taken;
    taken.reserve(outputs_.size());
    for (std::size_t i = 0; i < outputs_.size(); ++i)
      taken.emplace_back(std::move(outputs_[i]), std::move(output_blocks_[i]));
    return taken;
  }

private:
  std::shared_ptr<Block> allocate(std::size_t bytes) const {
    return std::make_shared<Block>(engine_.allocator(), bytes);
  }

  void add_input(TensorView view) {
    std::shared_ptr<Block> block;
    if (!view.on_host) {
      block = allocate(view.bytes);
      engine_.acl()->copy(block->address(), view.data, view.bytes, CopyKind::kHostToDevice);
      view.data = block->address();
    }
    input_blocks_.push_back(std::move(block));
    inputs_.push_back(std::move(view));
  }

  const Engine& engine_;
  std::vector<TensorView> inputs_;
  std::vector<TensorView> outputs_;
  std::vector<std::shared_ptr<Block>> input_blocks_;
  std::vector<std::shared_ptr<Block>> output_blocks_;
};

} // namespace

std::vector<Output> run_on_host(Engine& engine, CompiledGraph& graph,
                                std::span<const TensorView> inputs,
                                std::span<const TensorView> outputs, std::span<const Alias> aliases,
                                const std::function<void()>& interrupt) {
  const std::lock_guard lock(engine.stream_mutex());
  engine.check_usable();
  engine.acl()->enter_thread();
  DeviceTensors tensors(engine, inputs);
  if (!outputs.empty())
    tensors.add_outputs(outputs, aliases);
  std::vector<Output> made =
      graph.run(engine.stream(), engine.allocator(), tensors.inputs(), tensors.outputs());
  engine.acl()->wait(engine.stream(), interrupt);
  return outputs.empty() ? std::move(made) : tensors.take();
}

void copy_to_host(const Engine& engine, const Output& output, void* target, std::size_t bytes) {
  engine.check_usable();
  engine.acl()->enter_thread();
  engine.acl()->copy(target, output.view().data, bytes, CopyKind::kDeviceToHost);
}

} // namespace torchair::cann
