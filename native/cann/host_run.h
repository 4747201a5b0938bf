// One run of a graph on tensors that lie on the host.
#pragma once

#include <functional>

#include "cann/engine.h"

namespace torchair::cann {

// (output, input): the output is what the input holds after the run.
using Alias = std::pair<std::size_t, std::size_t>;

// Copies the inputs to the device, runs, and waits; calls `interrupt` while waiting. An input whose
// view is `on_host` is given to GE as it is. `outputs` are the shapes of all outputs, or empty, and
// then GE makes them. When given, an alias lies in the input's memory, and GE must have been told
// so in the graph's options.
//
// Returns all outputs, on the device. Throws as CompiledGraph::run().
std::vector<Output> run_on_host(Engine& engine, CompiledGraph& graph,
                                std::span<const TensorView> inputs,
                                std::span<const TensorView> outputs, std::span<const Alias> aliases,
                                const std::function<void()>& interrupt);

// Copies an output to the host. Blocking.
void copy_to_host(const Engine& engine, const Output& output, void* target, std::size_t bytes);

} // namespace torchair::cann
