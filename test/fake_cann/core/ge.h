// GE's classes as the fake implements them, and the graphs of its sessions.
//
// The layouts are those of the public headers, written down here a second time on purpose: the
// driver's own description of them (native/cann/ge_layouts.h) is what the fake tests.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "state.h"

// The fake's code for a mangled name; build.py makes the name itself a jump to it.
#define FAKE_SYMBOL(name) __asm__("fake_" name)

namespace fake {

using Status = std::uint32_t;

struct AscendString {
  std::shared_ptr<std::string> text;
  bool operator<(const AscendString& other) const { return value() < other.value(); }
  std::string value() const { return text == nullptr ? std::string() : *text; }
};

using Options = std::map<AscendString, AscendString>;
using PlainOptions = std::map<std::string, std::string>;

struct Dims {
  std::vector<std::int64_t> sizes;
};

struct Shape {
  std::shared_ptr<Dims> dims;
};

struct TensorBody {
  std::int32_t type = 0;
  std::int32_t format = -1;
  std::uint32_t placement = 0; // 0 host, 1 device
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> origin_sizes;
  std::uint8_t* data = nullptr;
  std::size_t bytes = 0;
  std::function<void(std::uint8_t*)> deleter;
  ~TensorBody() {
    if (deleter && data != nullptr)
      deleter(data);
  }
};

struct Tensor {
  std::shared_ptr<TensorBody> body;
};

// gert::Tensor of the public headers: its members, inline, at fixed places.
struct ExecutorTensor {
  struct Sizes {
    std::size_t rank;
    std::int64_t dims[25];
    char reserved[40];
  };
  Sizes origin, storage;
  char reserved_shape[40];
  std::int32_t origin_format, storage_format;
  std::uint64_t expand_dims;
  char reserved_format[40];
  std::uint8_t version;
  char reserved_version[3];
  std::int32_t type;
  void* address;
  void* manager;
  std::size_t bytes;
  std::int32_t placement; // 0 device, 1 host
  std::uint32_t reserved_placement;
  char reserved_data[40];
  char reserved[40];
};
static_assert(sizeof(ExecutorTensor) == 712);

struct ModelBytes {
  std::string name;
  std::string bytes;
  std::vector<FakeTensor> inputs;
  std::vector<FakeTensor> outputs;
  bool is_static() const;
};

struct Graph {
  std::shared_ptr<ModelBytes> model;
};

struct Session {
  std::uint64_t id;
};

class MemBlock;

class Allocator {
public:
  virtual ~Allocator() = default;
  virtual MemBlock* Malloc(std::size_t size) = 0;
  virtual void Free(MemBlock* block) = 0;
  virtual MemBlock* MallocAdvise(std::size_t size, void* address) = 0;
};

class MemBlock {
public:
  MemBlock(Allocator& allocator, void* address, std::size_t size)
      : allocator_(allocator), address_(address), count_(1), size_(size) {}
  virtual ~MemBlock() = default;
  void* address() const { return address_; }
  std::size_t size() const { return size_; }
  void release() {
    if (count_ > 0 && --count_ == 0)
      allocator_.Free(this);
  }

private:
  Allocator& allocator_;
  void* address_;
  std::size_t count_;
  std::size_t size_;
};

inline constexpr std::size_t kConstBytes = 512, kFeatureBytes = 10240, kFixedBytes = 512;

struct LoadedGraph {
  std::shared_ptr<ModelBytes> model;
  PlainOptions options;
  bool compiled = false;
  bool ran = false;
  bool loaded = false; // by GeSessionLoadGraph
  PlainOptions load_options;
  void* stream = nullptr; // of the first run, or of the load
  const void* const_memory = nullptr;
  const void* feature_memory = nullptr;
  const void* fixed_memory = nullptr;
  bool refreshable() const;
};

struct SessionState {
  std::map<std::uint32_t, LoadedGraph> graphs;
};

struct Summary {
  std::shared_ptr<ModelBytes> model;
  bool refreshable = false;
};

// Fails with GE's error text; a breach also fails the test.
Status ge_fail(const std::string& text);
Status ge_breach(const std::string& text);
// Logs a call of GE. 0, or the status of an injected failure.
Status ge_enter(const char* function, bool cleans_up = false);

// What ge::Session and the plain-C wrapper share. None of them hold the lock.
Status initialize(const PlainOptions& options);
Status finalize();
std::uint64_t create_session(const PlainOptions& options); // 0 when it fails
void destroy_session(std::uint64_t session);
Status add_graph(std::uint64_t session, std::uint32_t id, const Graph& graph,
                 const PlainOptions& options);
Status remove_graph(std::uint64_t session, std::uint32_t id);
Status compile_graph(std::uint64_t session, std::uint32_t id);
Status register_allocator(std::uint64_t session, const void* stream,
                          std::shared_ptr<Allocator> allocator);
Status unregister_allocator(std::uint64_t session, const void* stream);
Status run_graph(std::uint64_t session, std::uint32_t id, void* stream,
                 const std::vector<Tensor>& inputs, std::vector<Tensor>& outputs);
Status load_graph(std::uint64_t session, std::uint32_t id, const PlainOptions& options,
                  void* stream);
Status execute_graph(std::uint64_t session, std::uint32_t id, void* stream,
                     const std::vector<ExecutorTensor>& inputs,
                     std::vector<ExecutorTensor>& outputs);
bool has_allocator(const void* stream);
bool is_initialized();

// For sessions.cpp, which the lock protects.
struct GeState {
  bool initialized = false;
  std::uint64_t next_session = 1;
  std::map<std::uint64_t, SessionState> sessions;
  std::map<const void*, std::shared_ptr<Allocator>> allocators;
  std::vector<std::string> options; // "graph 3: ge.oo.level=O3"
  int tensors = 0;                  // made by GE and alive
};
GeState& ge_state();
LoadedGraph* find_graph(std::uint64_t session, std::uint32_t id);

std::int64_t element_bytes(std::int32_t type); // 0 when unknown
PlainOptions plain(const Options& options);

} // namespace fake
