#include "runtime/status.h"

namespace torchair::runtime {

CodeFacts facts_of(Code code) noexcept {
  switch (code) {
  case Code::kSuccess:
    return {"ACL_SUCCESS", "nothing is wrong"};
  case Code::kParamInvalid:
    return {"ACL_ERROR_RT_PARAM_INVALID", "an argument has a value that the call does not take"};
  case Code::kInvalidDeviceId:
    return {"ACL_ERROR_RT_INVALID_DEVICEID", "there is no device with this number"};
  case Code::kContextNull:
    return {"ACL_ERROR_RT_CONTEXT_NULL", "the thread has no current device"};
  case Code::kStreamContext:
    return {"ACL_ERROR_RT_STREAM_CONTEXT", "the stream belongs to another device"};
  case Code::kInvalidHandle:
    return {"ACL_ERROR_RT_INVALID_HANDLE", "the object was destroyed"};
  case Code::kWaitTimeout:
    return {"ACL_ERROR_RT_WAIT_TIMEOUT", "the wait lasted longer than its limit"};
  case Code::kStreamAbort:
    return {"ACL_ERROR_RT_STREAM_ABORT", "the tasks of the stream are being dropped"};
  case Code::kCaptureDependency:
    return {"ACL_ERROR_RT_CAPTURE_DEPENDENCY",
            "a captured wait needs an event that was recorded in the same capture before it"};
  case Code::kStreamUnjoined:
    return {"ACL_ERROR_RT_STREAM_UNJOINED",
            "every stream that joined a capture must lead back to the stream where it began, by an "
            "event recorded after its last task"};
  case Code::kModelCaptured:
    return {"ACL_ERROR_RT_MODEL_CAPTURED", "a graph cannot run before its capture has ended"};
  case Code::kStreamCaptured:
    return {"ACL_ERROR_RT_STREAM_CAPTURED", "the call needs a stream that is not capturing"};
  case Code::kEventCaptured:
    return {"ACL_ERROR_RT_EVENT_CAPTURED",
            "an event recorded in a capture has no meaning outside of it before the capture ends"};
  case Code::kStreamNotCaptured:
    return {"ACL_ERROR_RT_STREAM_NOT_CAPTURED", "the call needs a stream that is capturing"};
  case Code::kCaptureModeNotSupport:
    return {"ACL_ERROR_RT_CAPTURE_MODE_NOT_SUPPORT",
            "nothing may be waited for or queried while a capture forbids it"};
  case Code::kStreamCaptureImplicit:
    return {"ACL_ERROR_RT_STREAM_CAPTURE_IMPLICIT",
            "the default stream cannot be captured, nor used while a capture is on"};
  case Code::kStreamCaptureConflict:
    return {"ACL_ERROR_STREAM_CAPTURE_CONFLICT",
            "streams of two captures cannot wait for each other"};
  case Code::kTaskGroupStatus:
    return {"ACL_ERROR_STREAM_TASK_GROUP_STATUS",
            "task groups and updates begin and end in pairs on one stream, and do not nest"};
  case Code::kTaskGroupInterrupted:
    return {"ACL_ERROR_STREAM_TASK_GROUP_INTR",
            "no other stream of the capture may be given tasks while a task group is open"};
  case Code::kStreamCaptureUnmatched:
    return {"ACL_ERROR_RT_STREAM_CAPTURE_UNMATCHED", "a capture ends on the stream where it began"};
  case Code::kModelRunning:
    return {"ACL_ERROR_RT_MODEL_RUNNING", "the graph must be idle"};
  case Code::kStreamCaptureWrongThread:
    return {"ACL_ERROR_RT_STREAM_CAPTURE_WRONG_THREAD",
            "a capture ends on the thread where it began, unless its mode is relaxed"};
  case Code::kModelUpdateFailed:
    return {"ACL_ERROR_RT_MODEL_UPDATE_FAILED",
            "an update launches as many tasks as the group has, of the same kinds"};
  case Code::kFeatureNotSupport:
    return {"ACL_ERROR_RT_FEATURE_NOT_SUPPORT", "the device cannot do this"};
  case Code::kMemoryAllocation:
    return {"ACL_ERROR_RT_MEMORY_ALLOCATION", "there is not enough memory"};
  case Code::kResourceAllocFail:
    return {"ACL_ERROR_RT_RESOURCE_ALLOC_FAIL", "the device has no more of this resource"};
  case Code::kUpdateOpNotSupport:
    return {"ACL_ERROR_RT_FEATURE_NOT_SUPPORT_UPDATE_OP", "this operator cannot be updated"};
  case Code::kInternalError:
    return {"ACL_ERROR_RT_INTERNAL_ERROR", "the device failed"};
  case Code::kModelExecute:
    return {"ACL_ERROR_RT_MODEL_EXECUTE", "a task of the graph failed"};
  case Code::kStreamCaptureInvalidated:
    return {"ACL_ERROR_RT_STREAM_CAPTURE_INVALIDATED",
            "the capture broke a rule earlier and has no graph"};
  }
  return {"unknown code", "the device reported a code that is not in the table"};
}

namespace {

std::string describe(Code code, const std::string& what, const std::string& detail) {
  const CodeFacts facts = facts_of(code);
  std::string text = what + " (" + facts.name + ", " +
                     std::to_string(static_cast<std::int32_t>(code)) + "): " + facts.rule;
  return detail.empty() ? text : text + ". " + detail;
}

} // namespace

Error::Error(Code code, const std::string& what, const std::string& detail)
    : std::runtime_error(describe(code, what, detail)), code_(code) {}

} // namespace torchair::runtime
