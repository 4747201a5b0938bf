// The CANN engine of a process: one device, one GE session, and the graphs in it.
//
// What is made in order is undone in the opposite order, once: graphs, allocators, session, GE,
// streams, device, ACL. close() does it; so does the destructor. A forked child can do nothing with
// its parent's engine: it is refused, and closing it there does nothing.
//
// Locks are taken in this order: of the engine, of the stream, of a graph, of the allocators.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>

#include "cann/ge_session.h"
#include "cann/printing.h"

namespace torchair::cann {

class Engine;

struct EngineOptions {
  std::vector<std::string> folders; // where CANN's libraries may be
  int device = 0;
  Route route = Route::kAuto;
  bool owned = true;       // false: torch_npu starts and ends ACL and GE
  std::string dump_config; // ACL's dump configuration, a JSON file; empty: none
  OptionList process;      // for GEInitialize
  OptionList session;
};

// A graph that GE has compiled, or will compile at its first run. Runs on one stream, that of its
// first run. Thread safe: runs of one graph happen one after the other.
class CompiledGraph {
public:
  CompiledGraph(std::shared_ptr<Engine> engine, std::uint32_t id, std::optional<Summary> summary);
  CompiledGraph(const CompiledGraph&) = delete;
  CompiledGraph& operator=(const CompiledGraph&) = delete;
  ~CompiledGraph();

  std::uint32_t id() const noexcept { return id_; }
  const std::optional<Summary>& summary() const noexcept { return summary_; }

  // Queues one run on `stream`. `outputs` is empty, or has memory for every output. Memory of the
  // graph and of outputs that GE makes comes from `allocator`. `frozen` are inputs that lie in all
  // runs where they lie in the first one; it counts in the first run, where Engine::loads().
  //
  // Throws std::invalid_argument for another stream than before, GeError, runtime::Error, and
  // std::runtime_error when the engine is closed.
  std::vector<Output> run(void* stream, const std::shared_ptr<Allocator>& allocator,
                          std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                          std::span<const std::size_t> frozen = {});

  // The tasks of the graph in JSON, after a run. Throws kFeatureNotSupport where GE cannot tell.
  std::string tasks_json();

private:
  friend class Engine;
  void prepare(void* stream, const std::shared_ptr<Allocator>& allocator);
  void set_memory(const std::shared_ptr<Allocator>& allocator);
  void load(std::span<const TensorView> inputs, std::span<const std::size_t> frozen);
  std::vector<Output> queue(std::span<const TensorView> inputs, std::span<const TensorView> outputs,
                            std::span<const std::size_t> frozen);
  void close() noexcept;

  std::shared_ptr<Engine> engine_;
  std::uint32_t id_;
  std::optional<Summary> summary_;
  std::mutex mutex_;
  bool loaded_ = false;
  bool ready_ = false; // its memory is set
  bool closed_ = false;
  void* stream_ = nullptr;
  Block const_memory_;
  Block feature_memory_;
  Block fixed_memory_;
};

class Engine : public std::enable_shared_from_this<Engine> {
public:
  // Throws LoadError, runtime::Error, GeError.
  static std::shared_ptr<Engine> open(const EngineOptions& options);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  // `model` is a serialized ge.proto.ModelDef; `options` are the graph's own.
  std::shared_ptr<CompiledGraph> compile(std::span<const std::byte> model,
                                         const OptionList& options);
  // Whether graphs of fixed shapes are loaded once and then executed; what they are told of their
  // inputs (host, frozen) is then told when they are loaded.
  bool loads() const noexcept { return session_ != nullptr && session_->can_load(); }

  // The stream and the memory for tensors that are on the host: copied in, run, copied out.
  Handle stream() const noexcept { return stream_; }
  std::shared_ptr<Allocator> allocator() const noexcept { return allocator_; }
  std::mutex& stream_mutex() noexcept { return stream_mutex_; }

  const std::shared_ptr<const Acl>& acl() const noexcept { return acl_; }
  const char* route() const noexcept { return route_; }
  bool closed() const noexcept { return closed_; }
  // Throws std::runtime_error in a forked child, and when the engine is closed.
  void check_usable() const;
  // Shows on stderr what graphs print, from now on. False where this CANN cannot; throws
  // runtime::Error when it should and does not.
  bool show_prints();
  // Waits for the device, then undoes everything. A second call does nothing.
  void close() noexcept;

private:
  friend class CompiledGraph;
  explicit Engine(const EngineOptions& options);
  void start_dump(const std::string& config);
  void end_dump() noexcept;
  void use_allocator(void* stream, const std::shared_ptr<Allocator>& allocator);
  void forget(CompiledGraph* graph) noexcept;

  AclUse use_;
  std::shared_ptr<const Acl> acl_;
  Handle stream_ = nullptr;
  std::mutex stream_mutex_;
  std::shared_ptr<CachingAllocator> allocator_;
  std::unique_ptr<GeSession> session_;
  const char* route_ = "";
  pid_t process_;
  std::atomic<bool> closed_{false};
  std::mutex mutex_; // of the next four
  std::unique_ptr<PrintChannel> prints_;
  bool dumps_ = false;
  std::uint32_t next_id_ = 0;
  std::set<CompiledGraph*> graphs_;
  std::mutex allocators_mutex_; // of the next one
  std::map<void*, std::shared_ptr<Allocator>> registered_;
};

} // namespace torchair::cann
