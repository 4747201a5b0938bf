// Device memory and copies.
#include <cstdlib>
#include <cstring>

#include "state.h"

namespace fake {
namespace {

constexpr std::size_t kAlignment = 512;
constexpr int kFresh = 0xA5, kFreed = 0xDD; // what device memory holds before and after its life
constexpr std::int32_t kHostToHost = 0, kHostToDevice = 1, kDeviceToHost = 2, kDeviceToDevice = 3,
                       kDefault = 4;

int check_side(const char* function, const char* side, const void* address, std::size_t bytes,
               bool on_device) {
  const bool is_device = is_device_memory(address, bytes);
  const std::string what = std::string(function) + ": the " + side;
  if (address == nullptr)
    return breach(kParamInvalid, what + " is null");
  if (on_device && !is_device)
    return breach(kParamInvalid, what + " is not live device memory of this size");
  if (!on_device && is_device_memory(address, 1))
    return breach(kParamInvalid, what + " is device memory, the kind says host");
  return kOk;
}

int check_copy(const char* function, const void* target, std::size_t most, const void* source,
               std::size_t bytes, std::int32_t kind) {
  if (bytes == 0 || bytes > most)
    return breach(kParamInvalid, std::string(function) + ": count is 0 or exceeds destMax");
  if (kind == kDefault)
    return kOk;
  if (kind < kHostToHost || kind > kDeviceToDevice)
    return breach(kParamInvalid, std::string(function) + ": unknown kind");
  const bool to_device = kind == kHostToDevice || kind == kDeviceToDevice;
  const bool from_device = kind == kDeviceToHost || kind == kDeviceToDevice;
  if (const int wrong = check_side(function, "target", target, most, to_device))
    return wrong;
  return check_side(function, "source", source, bytes, from_device);
}

} // namespace

extern "C" int fake_aclrtMalloc(void** address, std::size_t bytes, std::int32_t policy) {
  const Lock lock = locked();
  FAKE_CALL("aclrtMalloc");
  Device& device = state().device;
  if (address == nullptr || bytes == 0)
    return breach(kParamInvalid, "aclrtMalloc of 0 bytes or to a null pointer");
  if (policy < 0 || policy > 7)
    return breach(kParamInvalid, "aclrtMalloc with an unknown policy");
  if (device.memory_limit != 0 && device.memory_used + bytes > device.memory_limit)
    return fail(kMemoryAllocation, "out of device memory");
  const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  *address = std::aligned_alloc(kAlignment, rounded);
  std::memset(*address, kFresh, rounded);
  device.memory.emplace(*address, bytes);
  device.memory_used += bytes;
  return kOk;
}

extern "C" int fake_aclrtFree(void* address) {
  const Lock lock = locked();
  FAKE_CALL("aclrtFree", true);
  Device& device = state().device;
  const auto found = device.memory.find(address);
  if (found == device.memory.end())
    return breach(kParamInvalid, "aclrtFree of an address that is not allocated (double free?)");
  const std::string user = user_of(address);
  if (!user.empty())
    breach(kOk, "aclrtFree of memory that queued work still uses: " + user);
  std::memset(address, kFreed, found->second);
  device.memory_used -= found->second;
  device.memory.erase(found);
  std::free(address);
  return kOk;
}

extern "C" int fake_aclrtMemcpy(void* target, std::size_t most, const void* source,
                                std::size_t bytes, std::int32_t kind) {
  const Lock lock = locked();
  FAKE_CALL("aclrtMemcpy");
  if (const int wrong = check_copy("aclrtMemcpy", target, most, source, bytes, kind))
    return wrong;
  if (const int wrong = check_unsafe_allowed("aclrtMemcpy"))
    return wrong;
  std::memmove(target, source, bytes);
  return kOk;
}

extern "C" int fake_aclrtMemcpyAsync(void* target, std::size_t most, const void* source,
                                     std::size_t bytes, std::int32_t kind, void* handle) {
  Lock lock = locked();
  FAKE_CALL("aclrtMemcpyAsync");
  if (const int wrong = check_copy("aclrtMemcpyAsync", target, most, source, bytes, kind))
    return wrong;
  Stream* stream = find_stream(handle);
  if (stream == nullptr)
    return breach(kInvalidHandle, "aclrtMemcpyAsync on something that is not a stream");
  if (kind != kDeviceToDevice)
    return breach(kParamInvalid, "aclrtMemcpyAsync with host memory that ACL has not pinned");
  const auto copy = [target, source, bytes] {
    std::memmove(target, source, bytes);
    return static_cast<int>(kOk);
  };
  return submit(lock, *stream, {"aclrtMemcpyAsync", copy, {{target, bytes}, {source, bytes}}});
}

} // namespace fake
