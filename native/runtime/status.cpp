#include "runtime/status.h"

namespace torchair::runtime {

namespace {

struct Row {
  Code code;
  CodeFacts facts;
};

constexpr Row kTable[] = {
    {Code::kSuccess, {"ACL_SUCCESS", "nothing is wrong"}},
    {Code::kParamInvalid,
     {"ACL_ERROR_RT_PARAM_INVALID", "an argument has a value that the call does not take"}},
    {Code::kInvalidDeviceId,
     {"ACL_ERROR_RT_INVALID_DEVICEID", "there is no device with this number"}},
    {Code::kContextNull, {"ACL_ERROR_RT_CONTEXT_NULL", "the thread has no current device"}},
    {Code::kStreamContext, {"ACL_ERROR_RT_STREAM_CONTEXT", "the stream belongs to another device"}},
    {Code::kInvalidHandle, {"ACL_ERROR_RT_INVALID_HANDLE", "the object was destroyed"}},
    {Code::kWaitTimeout, {"ACL_ERROR_RT_WAIT_TIMEOUT", "the wait lasted longer than its limit"}},
    {Code::kStreamAbort,
     {"ACL_ERROR_RT_STREAM_ABORT", "the tasks of the stream are being dropped"}},
    {Code::kCaptureDependency,
     {"ACL_ERROR_RT_CAPTURE_DEPENDENCY",
      "a captured wait needs an event that was recorded in the same capture before it"}},
    {Code::kStreamUnjoined,
     {"ACL_ERROR_RT_STREAM_UNJOINED",
      "every stream that joined a capture must lead back to the stream where it began, by an "
      "event recorded after its last task"}},
    {Code::kModelCaptured,
     {"ACL_ERROR_RT_MODEL_CAPTURED", "a graph cannot run before its capture has ended"}},
    {Code::kStreamCaptured,
     {"ACL_ERROR_RT_STREAM_CAPTURED", "the call needs a stream that is not capturing"}},
    {Code::kEventCaptured,
     {"ACL_ERROR_RT_EVENT_CAPTURED",
      "an event recorded in a capture has no meaning outside of it before the capture ends"}},
    {Code::kStreamNotCaptured,
     {"ACL_ERROR_RT_STREAM_NOT_CAPTURED", "the call needs a stream that is capturing"}},
    {Code::kCaptureModeNotSupport,
     {"ACL_ERROR_RT_CAPTURE_MODE_NOT_SUPPORT",
      "nothing may be waited for or queried while a capture forbids it"}},
    {Code::kStreamCaptureImplicit,
     {"ACL_ERROR_RT_STREAM_CAPTURE_IMPLICIT",
      "the default stream cannot be captured, nor used while a capture is on"}},
    {Code::kStreamCaptureConflict,
     {"ACL_ERROR_STREAM_CAPTURE_CONFLICT", "streams of two captures cannot wait for each other"}},
    {Code::kTaskGroupStatus,
     {"ACL_ERROR_STREAM_TASK_GROUP_STATUS",
      "task groups and updates begin and end in pairs on one stream, and do not nest"}},
    {Code::kTaskGroupInterrupted,
     {"ACL_ERROR_STREAM_TASK_GROUP_INTR",
      "no other stream of the capture may be given tasks while a task group is open"}},
    {Code::kStreamCaptureUnmatched,
     {"ACL_ERROR_RT_STREAM_CAPTURE_UNMATCHED", "a capture ends on the stream where it began"}},
    {Code::kModelRunning, {"ACL_ERROR_RT_MODEL_RUNNING", "the graph must be idle"}},
    {Code::kStreamCaptureWrongThread,
     {"ACL_ERROR_RT_STREAM_CAPTURE_WRONG_THREAD",
      "a capture ends on the thread where it began, unless its mode is relaxed"}},
    {Code::kModelUpdateFailed,
     {"ACL_ERROR_RT_MODEL_UPDATE_FAILED",
      "an update launches as many tasks as the group has, of the same kinds"}},
    {Code::kFeatureNotSupport, {"ACL_ERROR_RT_FEATURE_NOT_SUPPORT", "the device cannot do this"}},
    {Code::kMemoryAllocation, {"ACL_ERROR_RT_MEMORY_ALLOCATION", "there is not enough memory"}},
    {Code::kResourceAllocFail,
     {"ACL_ERROR_RT_RESOURCE_ALLOC_FAIL", "the device has no more of this resource"}},
    {Code::kUpdateOpNotSupport,
     {"ACL_ERROR_RT_FEATURE_NOT_SUPPORT_UPDATE_OP", "this operator cannot be updated"}},
    {Code::kInternalError, {"ACL_ERROR_RT_INTERNAL_ERROR", "the device failed"}},
    {Code::kModelExecute, {"ACL_ERROR_RT_MODEL_EXECUTE", "a task of the graph failed"}},
    {Code::kStreamCaptureInvalidated,
     {"ACL_ERROR_RT_STREAM_CAPTURE_INVALIDATED",
      "the capture broke a rule earlier and has no graph"}},
    // Codes that only a real device gives.
    {static_cast<Code>(100000),
     {"ACL_ERROR_INVALID_PARAM", "an argument has a value that the call does not take"}},
    {static_cast<Code>(100001), {"ACL_ERROR_UNINITIALIZE", "ACL was not started"}},
    {static_cast<Code>(100002), {"ACL_ERROR_REPEAT_INITIALIZE", "ACL is started once"}},
    {static_cast<Code>(107022),
     {"ACL_ERROR_RT_DEVICE_TASK_ABORT", "the tasks of the device are being dropped"}},
    {static_cast<Code>(207004), {"ACL_ERROR_RT_NO_DEVICE", "the device cannot be used"}},
    {static_cast<Code>(207007),
     {"ACL_ERROR_RT_NO_EVENT_RESOURCE", "the device has no more events"}},
    {static_cast<Code>(207008),
     {"ACL_ERROR_RT_NO_STREAM_RESOURCE",
      "the device has no more streams; captured graphs hold theirs"}},
    {static_cast<Code>(207009),
     {"ACL_ERROR_RT_NO_NOTIFY_RESOURCE", "the device has no more notifications"}},
    {static_cast<Code>(207010),
     {"ACL_ERROR_RT_NO_MODEL_RESOURCE", "the device has no more room for graphs"}},
    {static_cast<Code>(207012), {"ACL_ERROR_RT_OVER_LIMIT", "there are too many of this resource"}},
    {static_cast<Code>(207018),
     {"ACL_ERROR_RT_DEVICE_OOM", "there is not enough memory on the device"}},
    {static_cast<Code>(507009),
     {"ACL_ERROR_RT_TASK_TYPE_NOT_SUPPORT", "the device does not know this kind of task"}},
    {static_cast<Code>(507010), {"ACL_ERROR_RT_LOST_HEARTBEAT", "the device does not answer"}},
    {static_cast<Code>(507014), {"ACL_ERROR_RT_AICORE_TIMEOUT", "an operator ran too long"}},
    {static_cast<Code>(507015),
     {"ACL_ERROR_RT_AICORE_EXCEPTION", "an operator failed on the device"}},
    {static_cast<Code>(507016),
     {"ACL_ERROR_RT_AICORE_TRAP_EXCEPTION", "an operator stopped itself on the device"}},
    {static_cast<Code>(507017),
     {"ACL_ERROR_RT_AICPU_TIMEOUT", "an operator of the AI CPU ran too long"}},
    {static_cast<Code>(507018),
     {"ACL_ERROR_RT_AICPU_EXCEPTION", "an operator of the AI CPU failed"}},
    {static_cast<Code>(507899), {"ACL_ERROR_RT_DRV_INTERNAL_ERROR", "the driver failed"}},
};

std::string describe(Code code, const std::string& what, const std::string& detail) {
  const CodeFacts facts = facts_of(code);
  std::string text = what + " (" + facts.name + ", " +
                     std::to_string(static_cast<std::int32_t>(code)) + "): " + facts.rule;
  return detail.empty() ? text : text + ". " + detail;
}

} // namespace

CodeFacts facts_of(Code code) noexcept {
  for (const Row& row : kTable)
    if (row.code == code)
      return row.facts;
  return {"unknown code", "the device reported a code that is not in the table"};
}

Error::Error(Code code, const std::string& what, const std::string& detail)
    : std::runtime_error(describe(code, what, detail)), code_(code) {}

} // namespace torchair::runtime
