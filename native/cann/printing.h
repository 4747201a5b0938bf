// The text that graphs print: CANN sends it from the device through a channel.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "cann/acl.h"

namespace torchair::cann {

// Copies what arrives to stderr, on a thread of its own, until it is destroyed.
class PrintChannel {
public:
  // Whether this CANN has the functions.
  static bool is_possible(const Acl& acl) noexcept;
  // Throws runtime::Error when the channel cannot be made.
  explicit PrintChannel(std::shared_ptr<const Acl> acl);
  PrintChannel(const PrintChannel&) = delete;
  PrintChannel& operator=(const PrintChannel&) = delete;
  ~PrintChannel(); // prints what has arrived

private:
  void read();
  bool receive();
  void print(Handle dataset) const;

  std::shared_ptr<const Acl> acl_;
  Handle channel_;
  std::atomic<bool> stops_{false};
  std::thread reader_;
};

} // namespace torchair::cann
