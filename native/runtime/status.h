// Result codes of a device, and the error that carries one.
//
// The numbers and names are those of the ACL runtime, so that a rule broken on the host device
// reads the same as on an NPU. The text says the rule in a sentence.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace torchair::runtime {

enum class Code : std::int32_t {
  kSuccess = 0,
  kParamInvalid = 107000,
  kInvalidDeviceId = 107001,
  kContextNull = 107002,
  kStreamContext = 107003,
  kInvalidHandle = 107017,
  kWaitTimeout = 107019,
  kStreamAbort = 107023,
  kCaptureDependency = 107024,
  kStreamUnjoined = 107025,
  kModelCaptured = 107026,
  kStreamCaptured = 107027,
  kEventCaptured = 107028,
  kStreamNotCaptured = 107029,
  kCaptureModeNotSupport = 107030,
  kStreamCaptureImplicit = 107031,
  kStreamCaptureConflict = 107032,
  kTaskGroupStatus = 107033,
  kTaskGroupInterrupted = 107034,
  kStreamCaptureUnmatched = 107036,
  kModelRunning = 107037,
  kStreamCaptureWrongThread = 107038,
  kModelUpdateFailed = 107040,
  kFeatureNotSupport = 207000,
  kMemoryAllocation = 207001,
  kResourceAllocFail = 207005,
  kUpdateOpNotSupport = 207019,
  kInternalError = 507000,
  kModelExecute = 507011,
  kStreamCaptureInvalidated = 507903,
};

struct CodeFacts {
  const char* name; // as in the ACL headers
  const char* rule; // one sentence
};

// Name and rule of a code; a code that is not listed above gets "unknown code".
CodeFacts facts_of(Code code) noexcept;

// A device refused or failed. what() is
// "<what> (<name>, <number>): <rule>", followed by ". <detail>" when there is one.
class Error : public std::runtime_error {
public:
  Error(Code code, const std::string& what, const std::string& detail = {});
  Code code() const noexcept { return code_; }

private:
  Code code_;
};

} // namespace torchair::runtime
