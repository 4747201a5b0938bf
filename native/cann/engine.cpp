#include "cann/engine.h"

#include <unistd.h>

#include <cstdio>
#include <future>
#include <sstream>
#include <utility>

namespace torchair::cann {
namespace {

constexpr std::int32_t kForever = -1;

// For what happens while cleaning up: nobody is there to throw to.
template <typename Action> void try_to(const char* what, const Action& action) noexcept {
  try {
    action();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "torchair: while %s: %s\n", what, error.what());
  }
}

} // namespace

// ---------------------------------------------------------------- graph

CompiledGraph::CompiledGraph(std::shared_ptr<Engine> engine, std::uint32_t id,
                             std::optional<Summary> summary)
    : engine_(std::move(engine)), id_(id), summary_(std::move(summary)) {}

CompiledGraph::~CompiledGraph() { engine_->forget(this); }

std::vector<Output> CompiledGraph::run(void* stream, const std::shared_ptr<Allocator>& allocator,
                                       std::span<const TensorView> inputs,
                                       std::span<const TensorView> outputs,
                                       std::span<const std::size_t> frozen) {
  const std::lock_guard lock(mutex_);
  engine_->check_usable();
  engine_->acl()->enter_thread();
  if (stream_ == nullptr)
    prepare(stream, allocator);
  if (stream != stream_)
    throw std::invalid_argument("a compiled graph runs on the stream of its first run only");
  set_memory(allocator);
  Block feature; // given back at once: the allocator keeps it for later work of this stream
  if (summary_ && summary_->is_static && summary_->refreshable && summary_->feature_bytes > 0) {
    feature = Block(allocator, summary_->feature_bytes);
    engine_->session_->set_feature_memory(id_, feature.address(), feature.bytes());
  }
  try {
    return queue(inputs, outputs, frozen);
  } catch (const GeError& error) {
    const std::string reason = take_allocation_failure();
    if (reason.empty())
      throw;
    throw std::runtime_error(std::string(error.what()) + "; because " + reason);
  }
}

std::vector<Output> CompiledGraph::queue(std::span<const TensorView> inputs,
                                         std::span<const TensorView> outputs,
                                         std::span<const std::size_t> frozen) {
  GeSession& session = *engine_->session_;
  if (outputs.empty() || !summary_ || !summary_->is_static || !session.can_load())
    return session.run(id_, stream_, inputs, outputs);
  if (!loaded_)
    load(inputs, frozen);
  session.execute(id_, stream_, inputs, outputs);
  std::vector<Output> made;
  made.reserve(outputs.size());
  for (const TensorView& view : outputs)
    made.emplace_back(view, nullptr);
  return made;
}

// "index;index" for inputs on the host, "index,address,bytes;..." for frozen ones.
void CompiledGraph::load(std::span<const TensorView> inputs, std::span<const std::size_t> frozen) {
  std::ostringstream on_host, fixed;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].on_host)
      on_host << (on_host.tellp() == 0 ? "" : ";") << i;
  for (std::size_t i : frozen)
    fixed << (fixed.tellp() == 0 ? "" : ";") << i << ','
          << reinterpret_cast<std::uintptr_t>(inputs[i].data) << ',' << inputs[i].bytes;
  OptionList options;
  if (on_host.tellp() > 0)
    options.emplace_back("ge.exec.hostInputIndexes", on_host.str());
  if (fixed.tellp() > 0)
    options.emplace_back("ge.exec.frozenInputIndexes", fixed.str());
  engine_->session_->load(id_, stream_, options);
  loaded_ = true;
}

std::string CompiledGraph::tasks_json() {
  const std::lock_guard lock(mutex_);
  engine_->check_usable();
  engine_->acl()->enter_thread();
  if (!loaded_)
    throw runtime::Error(runtime::Code::kFeatureNotSupport, "the tasks of a graph",
                         "GE tells them of graphs of fixed shapes that it has loaded");
  return engine_->session_->tasks_json(id_);
}

void CompiledGraph::prepare(void* stream, const std::shared_ptr<Allocator>& allocator) {
  if (stream == nullptr)
    throw std::invalid_argument("a compiled graph needs a stream that is not the default one");
  engine_->use_allocator(stream, allocator);
  stream_ = stream;
}

// GE takes each kind of memory once, so a step that succeeded is not repeated after a failure.
void CompiledGraph::set_memory(const std::shared_ptr<Allocator>& allocator) {
  if (ready_)
    return;
  GeSession& session = *engine_->session_;
  const auto set = [&](Block& block, std::size_t bytes, auto function) {
    if (bytes == 0 || block.address() != nullptr)
      return;
    Block made(allocator, bytes);
    (session.*function)(id_, made.address(), made.bytes());
    block = std::move(made);
  };
  if (summary_ && summary_->is_static) {
    set(const_memory_, summary_->const_bytes, &GeSession::set_const_memory);
    set(fixed_memory_, summary_->fixed_bytes, &GeSession::set_fixed_memory);
    if (!summary_->refreshable)
      set(feature_memory_, summary_->feature_bytes, &GeSession::set_feature_memory);
  } else if (summary_) {
    set(fixed_memory_, summary_->fixed_bytes, &GeSession::set_fixed_memory);
  }
  ready_ = true;
}

void CompiledGraph::close() noexcept {
  const std::lock_guard lock(mutex_);
  if (std::exchange(closed_, true))
    return;
  try_to("removing a graph", [&] {
    engine_->acl()->enter_thread();
    if (stream_ != nullptr)
      engine_->acl()->synchronize(stream_, kForever);
  });
  try_to("removing a graph", [&] { engine_->session_->remove_graph(id_); });
  const_memory_ = {};
  feature_memory_ = {};
  fixed_memory_ = {};
}

// ---------------------------------------------------------------- engine

std::shared_ptr<Engine> Engine::open(const EngineOptions& options) {
  return std::shared_ptr<Engine>(new Engine(options));
}

Engine::Engine(const EngineOptions& options) : process_(getpid()) {
  const std::shared_ptr<const Library> library = Library::open(options.folders);
  use_ = AclUse(library, options.device, options.owned);
  acl_ = use_.get();
  try {
    if (!options.dump_config.empty())
      start_dump(options.dump_config);
    session_ =
        open_session(library, options.route, options.process, options.session, options.owned);
    route_ = session_->route();
    stream_ = acl_->create_stream(0);
    allocator_ = std::make_shared<CachingAllocator>(acl_);
  } catch (...) {
    end_dump();
    throw;
  }
}

Engine::~Engine() { close(); }

void Engine::start_dump(const std::string& config) {
  const AclFunctions& acl = acl_->call();
  if (acl.aclmdlInitDump == nullptr || acl.aclmdlSetDump == nullptr ||
      acl.aclmdlFinalizeDump == nullptr)
    throw LoadError("this CANN cannot dump by a configuration file", acl_->library().report());
  acl_->check(acl.aclmdlInitDump(), "aclmdlInitDump");
  acl_->check(acl.aclmdlSetDump(config.c_str()), "aclmdlSetDump");
  dumps_ = true;
}

void Engine::end_dump() noexcept {
  if (std::exchange(dumps_, false))
    acl_->report(acl_->call().aclmdlFinalizeDump(), "aclmdlFinalizeDump");
}

void Engine::check_usable() const {
  if (getpid() != process_)
    throw std::runtime_error("the cann engine was opened by the parent of this forked process; "
                             "start processes that use the device with spawn");
  if (closed_)
    throw std::runtime_error("the cann engine has been closed");
}

// GE compiles on a thread of its own, because it changes the calling thread's device context.
std::shared_ptr<CompiledGraph> Engine::compile(std::span<const std::byte> model,
                                               const OptionList& options) {
  const std::lock_guard lock(mutex_);
  check_usable();
  acl_->enter_thread();
  const std::uint32_t id = next_id_++;
  session_->add_graph(id, model, options);
  try {
    const auto compile = [&] {
      acl_->enter_thread();
      return session_->compile(id);
    };
    std::optional<Summary> summary = std::async(std::launch::async, compile).get();
    auto graph = std::make_shared<CompiledGraph>(shared_from_this(), id, std::move(summary));
    graphs_.insert(graph.get());
    return graph;
  } catch (...) {
    try_to("removing a graph that did not compile", [&] { session_->remove_graph(id); });
    throw;
  }
}

bool Engine::show_prints() {
  const std::lock_guard lock(mutex_);
  check_usable();
  if (prints_ == nullptr && PrintChannel::is_possible(*acl_)) {
    acl_->enter_thread();
    prints_ = std::make_unique<PrintChannel>(acl_);
  }
  return prints_ != nullptr;
}

void Engine::use_allocator(void* stream, const std::shared_ptr<Allocator>& allocator) {
  const std::lock_guard lock(allocators_mutex_);
  if (registered_.contains(stream))
    return;
  session_->register_allocator(stream, allocator);
  registered_.emplace(stream, allocator);
}

void Engine::forget(CompiledGraph* graph) noexcept {
  const std::lock_guard lock(mutex_);
  if (graphs_.erase(graph) > 0 && getpid() == process_)
    graph->close();
}

void Engine::close() noexcept {
  const std::lock_guard lock(mutex_);
  if (getpid() != process_ || closed_.exchange(true))
    return;
  try_to("waiting for the device", [&] {
    acl_->enter_thread();
    acl_->check(acl_->call().aclrtSynchronizeDevice(), "aclrtSynchronizeDevice");
  });
  for (CompiledGraph* graph : graphs_)
    graph->close();
  graphs_.clear();
  const std::lock_guard stream_lock(stream_mutex_);
  const std::lock_guard allocators_lock(allocators_mutex_);
  for (const auto& [stream, allocator] : registered_)
    try_to("returning an allocator", [&] { session_->unregister_allocator(stream); });
  registered_.clear();
  end_dump();
  session_.reset();
  prints_.reset();
  acl_->report(acl_->call().aclrtDestroyStream(stream_), "aclrtDestroyStream");
  allocator_->trim(); // GE may still hold the allocator
  allocator_.reset();
  use_ = {};
}

} // namespace torchair::cann
