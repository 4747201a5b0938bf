// The channel through which the device sends text: acltdt*.
#include <chrono>
#include <condition_variable>

#include "state.h"

namespace fake {
namespace {

struct Channel {
  std::deque<std::string> texts;
};

struct Dataset {
  std::vector<std::string> items;
};

std::set<Channel*> channels;
std::set<Dataset*> datasets;
std::condition_variable arrived;

constexpr std::int32_t kString = 13; // ACL_STRING

} // namespace

extern "C" void* fake_acltdtCreateChannelWithCapacity(std::uint32_t device, const char* name,
                                                      std::size_t capacity) {
  const Lock lock = locked();
  if (enter_device("acltdtCreateChannelWithCapacity") != kOk)
    return nullptr;
  if (device != 0 || std::string(name) != "_npu_log" || capacity < 2 || !channels.empty()) {
    breach(kParamInvalid, "acltdtCreateChannelWithCapacity with wrong arguments, or a second time");
    return nullptr;
  }
  return *channels.insert(new Channel).first;
}

extern "C" int fake_acltdtDestroyChannel(void* handle) {
  const Lock lock = locked();
  FAKE_CALL("acltdtDestroyChannel", true);
  auto* channel = static_cast<Channel*>(handle);
  if (channels.erase(channel) == 0)
    return breach(kInvalidHandle, "acltdtDestroyChannel of something that is no channel");
  delete channel;
  return kOk;
}

extern "C" void* fake_acltdtCreateDataset() {
  const Lock lock = locked();
  return *datasets.insert(new Dataset).first;
}

extern "C" int fake_acltdtDestroyDataset(void* handle) {
  const Lock lock = locked();
  auto* dataset = static_cast<Dataset*>(handle);
  if (datasets.erase(dataset) == 0)
    return breach(kInvalidHandle, "acltdtDestroyDataset of something that is no dataset");
  delete dataset;
  return kOk;
}

extern "C" int fake_acltdtReceiveTensor(const void* handle, void* dataset, std::int32_t timeout) {
  Lock lock = locked();
  auto* channel = static_cast<Channel*>(const_cast<void*>(handle));
  auto* target = static_cast<Dataset*>(dataset);
  if (!channels.contains(channel) || !datasets.contains(target))
    return breach(kInvalidHandle, "acltdtReceiveTensor of or into something that does not exist");
  arrived.wait_for(lock, std::chrono::milliseconds(timeout),
                   [&] { return !channel->texts.empty(); });
  if (channel->texts.empty())
    return kWaitTimeout;
  target->items.push_back(channel->texts.front());
  channel->texts.pop_front();
  return kOk;
}

extern "C" std::size_t fake_acltdtGetDatasetSize(const void* dataset) {
  return static_cast<const Dataset*>(dataset)->items.size();
}

extern "C" void* fake_acltdtGetDataItem(const void* dataset, std::size_t index) {
  return const_cast<std::string*>(&static_cast<const Dataset*>(dataset)->items.at(index));
}

extern "C" std::int32_t fake_acltdtGetDataTypeFromItem(const void* /*item*/) { return kString; }

extern "C" void* fake_acltdtGetDataAddrFromItem(const void* item) {
  return const_cast<char*>(static_cast<const std::string*>(item)->data());
}

extern "C" std::size_t fake_acltdtGetDataSizeFromItem(const void* item) {
  return static_cast<const std::string*>(item)->size();
}

// For tests: the device prints.
extern "C" void fake_cann_print(const char* text) {
  const Lock lock = locked();
  for (Channel* channel : channels)
    channel->texts.emplace_back(text);
  arrived.notify_all();
}

std::vector<std::string> live_printing() {
  std::vector<std::string> found;
  if (!channels.empty())
    found.push_back(std::to_string(channels.size()) + " channels for text");
  if (!datasets.empty())
    found.push_back(std::to_string(datasets.size()) + " datasets of text");
  return found;
}

} // namespace fake
