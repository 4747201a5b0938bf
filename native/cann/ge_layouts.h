// The memory layouts of GE's classes that cross its C++ interface, without GE's headers.
//
// Sources: the public headers ascend_string.h, tensor.h, graph.h, ge_allocator.h and ge_api.h of
// the releases 8.5.0 to 9.1.0. AscendString, Shape, Tensor and Graph hold one std::shared_ptr and
// no virtual function; a session is one 64-bit number. Everything else that crosses is a type of
// the C++ library whose layout does not depend on _GLIBCXX_USE_CXX11_ABI: map, vector, function and
// shared_ptr. No std::string crosses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

namespace torchair::cann {

using GeStatus = std::uint32_t; // 0 is success

namespace ge {

// GE's constructors are called on these objects as memory that holds a null pointer.
struct AscendString {
  std::shared_ptr<void> text;
};

struct Shape {
  std::shared_ptr<void> dims;
};

struct Tensor {
  std::shared_ptr<void> body;
};

struct Graph {
  std::shared_ptr<void> body;
  std::uint64_t reserve[6] = {}; // in case a later release adds members
};

struct alignas(std::uint64_t) Session {
  std::uint64_t id = 0;
  std::uint64_t reserve[7] = {};
};

// The order that GE's own map uses, so that GE finds what is put in here.
struct Less {
  bool operator()(const AscendString& a, const AscendString& b) const { return order(&a, b); }
  static inline bool (*order)(const AscendString*, const AscendString&) = nullptr;
};

using Options = std::map<AscendString, AscendString, Less>;

// GE calls Allocator through its virtual table, so the order of these functions is part of the
// interface, and so are the members of MemBlock, which GE reads without calling anything.
class MemBlock;

class Allocator {
public:
  Allocator() = default;
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;
  virtual ~Allocator() = default;
  virtual MemBlock* Malloc(std::size_t size) = 0;
  virtual void Free(MemBlock* block) = 0;
  virtual MemBlock* MallocAdvise(std::size_t size, void* /*address*/) { return Malloc(size); }
};

class MemBlock {
public:
  MemBlock(Allocator& allocator, void* address, std::size_t size)
      : allocator_(allocator), address_(address), size_(size) {}
  virtual ~MemBlock() = default;
  void* address() const { return address_; }
  std::size_t size() const { return size_; }

private:
  [[maybe_unused]] Allocator& allocator_;
  void* address_;
  [[maybe_unused]] std::size_t count_ = 1;
  std::size_t size_;
};

static_assert(sizeof(AscendString) == 16 && sizeof(Shape) == 16 && sizeof(Tensor) == 16);
static_assert(sizeof(Less) == 1 && sizeof(Options) == sizeof(std::map<int, int>));
static_assert(sizeof(MemBlock) == 5 * sizeof(void*));

} // namespace ge

// Tensors of GE's executor: plain memory whose reserved parts keep the layout from release to
// release. Sources: the public headers shape.h, storage_shape.h, storage_format.h, tensor_data.h
// and tensor.h of exe_graph/runtime, releases 8.5.0 to 9.1.0.
namespace gert {

inline constexpr std::size_t kMostDims = 25;
inline constexpr std::int32_t kFormatNd = 2;
inline constexpr std::int32_t kOnDevice = 0, kOnHost = 1; // TensorPlacement

struct Shape {
  std::size_t rank = 0;
  std::int64_t dims[kMostDims] = {};
  std::uint8_t reserve[40] = {};
};

struct StorageShape {
  Shape origin;
  Shape storage;
  std::uint8_t reserve[40] = {};
};

struct StorageFormat {
  std::int32_t origin = kFormatNd;
  std::int32_t storage = kFormatNd;
  std::uint64_t expanded_dims = 0;
  std::uint8_t reserve[40] = {};
};

struct TensorData {
  void* address = nullptr;
  void* manager = nullptr; // null: the memory is the caller's
  std::size_t bytes = 0;
  std::int32_t placement = kOnDevice;
  std::uint32_t reserve_0 = 0;
  std::uint8_t reserve_1[40] = {};
};

struct Tensor {
  StorageShape shape;
  StorageFormat format;
  std::uint8_t version = 0;
  std::uint8_t reserve_0[3] = {};
  std::int32_t type = 0;
  TensorData data;
  std::uint8_t reserve_1[40] = {};
};

static_assert(sizeof(StorageShape) == 536 && sizeof(StorageFormat) == 56);
static_assert(sizeof(TensorData) == 72 && sizeof(Tensor) == 712);

} // namespace gert

} // namespace torchair::cann
