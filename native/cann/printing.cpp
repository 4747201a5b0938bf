#include "cann/printing.h"

#include <chrono>
#include <cstdio>

namespace torchair::cann {
namespace {

constexpr const char* kName = "_npu_log"; // the name that GE's kernels write to
constexpr std::size_t kCapacity = 2;
constexpr std::int32_t kWaitMilliseconds = 100;
constexpr std::int32_t kString = 13; // ACL_STRING
// A wait that fails at once must not keep a core busy.
constexpr auto kPause = std::chrono::milliseconds(10);

} // namespace

bool PrintChannel::is_possible(const Acl& acl) noexcept {
  const AclFunctions& call = acl.call();
  return call.acltdtCreateChannelWithCapacity != nullptr && call.acltdtDestroyChannel != nullptr &&
         call.acltdtCreateDataset != nullptr && call.acltdtDestroyDataset != nullptr &&
         call.acltdtReceiveTensor != nullptr && call.acltdtGetDatasetSize != nullptr &&
         call.acltdtGetDataItem != nullptr && call.acltdtGetDataTypeFromItem != nullptr &&
         call.acltdtGetDataAddrFromItem != nullptr && call.acltdtGetDataSizeFromItem != nullptr;
}

PrintChannel::PrintChannel(std::shared_ptr<const Acl> acl)
    : acl_(std::move(acl)), channel_(acl_->call().acltdtCreateChannelWithCapacity(
                                static_cast<std::uint32_t>(acl_->device()), kName, kCapacity)) {
  if (channel_ == nullptr)
    throw runtime::Error(runtime::Code::kResourceAllocFail,
                         "acltdtCreateChannelWithCapacity returned nothing");
  reader_ = std::thread([this] { read(); });
}

PrintChannel::~PrintChannel() {
  stops_ = true;
  reader_.join();
  acl_->report(acl_->call().acltdtDestroyChannel(channel_), "acltdtDestroyChannel");
}

void PrintChannel::read() {
  try {
    acl_->enter_thread();
  } catch (const runtime::Error& error) {
    std::fprintf(stderr, "torchair: what graphs print is not shown: %s\n", error.what());
    return;
  }
  while (!stops_)
    if (!receive())
      std::this_thread::sleep_for(kPause);
  while (receive()) {
  }
}

// False when nothing came in time.
bool PrintChannel::receive() {
  const AclFunctions& call = acl_->call();
  const Handle dataset = call.acltdtCreateDataset();
  if (dataset == nullptr)
    return false;
  const std::int32_t wait = stops_ ? 0 : kWaitMilliseconds;
  const bool received = call.acltdtReceiveTensor(channel_, dataset, wait) == 0;
  if (received)
    print(dataset);
  acl_->report(call.acltdtDestroyDataset(dataset), "acltdtDestroyDataset");
  return received;
}

void PrintChannel::print(Handle dataset) const {
  const AclFunctions& call = acl_->call();
  for (std::size_t i = 0; i < call.acltdtGetDatasetSize(dataset); ++i) {
    const Handle item = call.acltdtGetDataItem(dataset, i);
    if (item == nullptr || call.acltdtGetDataTypeFromItem(item) != kString)
      continue;
    std::fwrite(call.acltdtGetDataAddrFromItem(item), 1, call.acltdtGetDataSizeFromItem(item),
                stderr);
  }
  std::fflush(stderr);
}

} // namespace torchair::cann
