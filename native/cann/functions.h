// Every function of CANN that torchair may call, one line each: name, need, type. Nothing is
// linked; loader.cpp looks each name up. test/fake_cann/symbols.txt says which release exports it.
//
// Needs: kRuntime is required for anything, kCapture for capture and replay, kGraph for either way
// of driving the Graph Engine (GE), kSession for its C++ interface, kWrapper for its plain-C one.
// kOptional is used where present.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <vector>

#include "cann/ge_layouts.h"

namespace torchair::cann {

using AclStatus = int; // aclError, 0 is success
using Handle = void*;  // aclrtStream, aclrtEvent, aclmdlRI, aclrtTaskGrp

enum class Need { kRuntime, kCapture, kGraph, kSession, kWrapper, kOptional };

// clang-format off
#define TORCHAIR_ACL_FUNCTIONS(F)                                                                   \
  F(aclInit, kRuntime, AclStatus(const char*))                                                      \
  F(aclFinalize, kRuntime, AclStatus())                                                             \
  F(aclGetRecentErrMsg, kOptional, const char*())                                                   \
  F(aclrtSetDevice, kRuntime, AclStatus(std::int32_t))                                              \
  F(aclrtResetDevice, kRuntime, AclStatus(std::int32_t))                                            \
  F(aclrtGetDevice, kRuntime, AclStatus(std::int32_t*))                                             \
  F(aclrtGetDeviceCount, kRuntime, AclStatus(std::uint32_t*))                                       \
  F(aclrtGetSocName, kOptional, const char*())                                                      \
  F(aclmdlInitDump, kOptional, AclStatus())                                                         \
  F(aclmdlSetDump, kOptional, AclStatus(const char*))                                               \
  F(aclmdlFinalizeDump, kOptional, AclStatus())                                                     \
  F(aclrtSynchronizeDevice, kRuntime, AclStatus())                                                  \
  F(aclrtCreateStreamWithConfig, kRuntime, AclStatus(Handle*, std::uint32_t, std::uint32_t))        \
  F(aclrtDestroyStream, kRuntime, AclStatus(Handle))                                                \
  F(aclrtSynchronizeStreamWithTimeout, kRuntime, AclStatus(Handle, std::int32_t))                   \
  F(aclrtStreamQuery, kRuntime, AclStatus(Handle, std::int32_t*))                                   \
  F(aclrtStreamGetId, kOptional, AclStatus(Handle, std::int32_t*))                                  \
  F(aclrtMalloc, kRuntime, AclStatus(void**, std::size_t, std::int32_t))                            \
  F(aclrtFree, kRuntime, AclStatus(void*))                                                          \
  F(aclrtMemcpy, kRuntime, AclStatus(void*, std::size_t, const void*, std::size_t, std::int32_t))   \
  F(aclrtMemcpyAsync, kRuntime, AclStatus(void*, std::size_t, const void*, std::size_t,             \
                                          std::int32_t, Handle))                                    \
  F(aclrtCreateEventExWithFlag, kCapture, AclStatus(Handle*, std::uint32_t))                        \
  F(aclrtCreateEventWithFlag, kCapture, AclStatus(Handle*, std::uint32_t))                          \
  F(aclrtDestroyEvent, kCapture, AclStatus(Handle))                                                 \
  F(aclrtRecordEvent, kCapture, AclStatus(Handle, Handle))                                          \
  F(aclrtStreamWaitEvent, kCapture, AclStatus(Handle, Handle))                                      \
  F(aclrtResetEvent, kCapture, AclStatus(Handle, Handle))                                           \
  F(aclrtQueryEventStatus, kCapture, AclStatus(Handle, std::int32_t*))                              \
  F(aclrtSynchronizeEvent, kCapture, AclStatus(Handle))                                             \
  F(aclmdlRICaptureBegin, kCapture, AclStatus(Handle, std::uint32_t))                               \
  F(aclmdlRICaptureGetInfo, kCapture, AclStatus(Handle, std::uint32_t*, Handle*))                   \
  F(aclmdlRICaptureEnd, kCapture, AclStatus(Handle, Handle*))                                       \
  F(aclmdlRICaptureThreadExchangeMode, kCapture, AclStatus(std::uint32_t*))                         \
  F(aclmdlRICaptureTaskGrpBegin, kCapture, AclStatus(Handle))                                       \
  F(aclmdlRICaptureTaskGrpEnd, kCapture, AclStatus(Handle, Handle*))                                \
  F(aclmdlRICaptureTaskUpdateBegin, kCapture, AclStatus(Handle, Handle))                            \
  F(aclmdlRICaptureTaskUpdateEnd, kCapture, AclStatus(Handle))                                      \
  F(aclmdlRIExecuteAsync, kCapture, AclStatus(Handle, Handle))                                      \
  F(aclmdlRIDestroy, kCapture, AclStatus(Handle))                                                   \
  F(aclmdlRIDebugJsonPrint, kOptional, AclStatus(Handle, const char*, std::uint32_t))               \
  F(aclmdlRIGetId, kOptional, AclStatus(Handle, std::uint32_t*))                                    \
  F(acltdtCreateChannelWithCapacity, kOptional, Handle(std::uint32_t, const char*, std::size_t))    \
  F(acltdtDestroyChannel, kOptional, AclStatus(Handle))                                             \
  F(acltdtCreateDataset, kOptional, Handle())                                                       \
  F(acltdtDestroyDataset, kOptional, AclStatus(Handle))                                             \
  F(acltdtReceiveTensor, kOptional, AclStatus(Handle, Handle, std::int32_t))                        \
  F(acltdtGetDatasetSize, kOptional, std::size_t(Handle))                                           \
  F(acltdtGetDataItem, kOptional, Handle(Handle, std::size_t))                                      \
  F(acltdtGetDataTypeFromItem, kOptional, std::int32_t(Handle))                                     \
  F(acltdtGetDataAddrFromItem, kOptional, void*(Handle))                                            \
  F(acltdtGetDataSizeFromItem, kOptional, std::size_t(Handle))

// Member functions take the object first; a class returned by value goes through the hidden pointer
// that both conventions share, so calling them as free functions is right on x86-64 and AArch64.
#define TORCHAIR_GE_FUNCTIONS(F)                                                                    \
  F(graph_create, kGraph, "_ZN2ge5GraphC1EPKc", void(ge::Graph*, const char*))                      \
  F(graph_load, kGraph, "_ZN2ge5Graph28LoadFromSerializedModelArrayEPKvm",                          \
    GeStatus(ge::Graph*, const void*, std::size_t))                                                 \
  F(string_create, kGraph, "_ZN2ge12AscendStringC1EPKc", void(ge::AscendString*, const char*))      \
  F(string_less, kGraph, "_ZNK2ge12AscendStringltERKS0_",                                           \
    bool(const ge::AscendString*, const ge::AscendString&))                                         \
  F(string_text, kGraph, "_ZNK2ge12AscendString9GetStringEv", const char*(const ge::AscendString*)) \
  F(shape_dims, kGraph, "_ZNK2ge5Shape7GetDimsEv", std::vector<std::int64_t>(const ge::Shape*))     \
  F(tensor_create, kGraph, "_ZN2ge6TensorC1Ev", void(ge::Tensor*))                                  \
  F(tensor_set_type, kGraph, "_ZN2ge6Tensor11SetDataTypeERKNS_8DataTypeE",                          \
    GeStatus(ge::Tensor*, const std::int32_t&))                                                     \
  F(tensor_set_format, kGraph, "_ZN2ge6Tensor9SetFormatERKNS_6FormatE",                             \
    GeStatus(ge::Tensor*, const std::int32_t&))                                                     \
  F(tensor_set_placement, kGraph, "_ZN2ge6Tensor12SetPlacementERKNS_9PlacementE",                   \
    GeStatus(ge::Tensor*, const std::uint32_t&))                                                    \
  F(tensor_set_rank, kGraph, "_ZN2ge6Tensor14SetShapeDimNumEm", GeStatus(ge::Tensor*, std::size_t)) \
  F(tensor_set_dim, kGraph, "_ZN2ge6Tensor11SetShapeDimEml",                                        \
    GeStatus(ge::Tensor*, std::size_t, std::int64_t))                                               \
  F(tensor_set_origin_rank, kGraph, "_ZN2ge6Tensor20SetOriginShapeDimNumEm",                        \
    GeStatus(ge::Tensor*, std::size_t))                                                             \
  F(tensor_set_origin_dim, kGraph, "_ZN2ge6Tensor17SetOriginShapeDimEml",                           \
    GeStatus(ge::Tensor*, std::size_t, std::int64_t))                                               \
  F(tensor_set_data, kGraph, "_ZN2ge6Tensor7SetDataEPhmRKSt8functionIFvS1_EE",                      \
    GeStatus(ge::Tensor*, std::uint8_t*, std::size_t, const std::function<void(std::uint8_t*)>&))   \
  F(tensor_data, kGraph, "_ZNK2ge6Tensor7GetDataEv", const std::uint8_t*(const ge::Tensor*))        \
  F(tensor_size, kGraph, "_ZNK2ge6Tensor7GetSizeEv", std::size_t(const ge::Tensor*))                \
  F(tensor_type, kGraph, "_ZNK2ge6Tensor11GetDataTypeEv", std::int32_t(const ge::Tensor*))          \
  F(tensor_rank, kGraph, "_ZNK2ge6Tensor14GetShapeDimNumEv", std::size_t(const ge::Tensor*))        \
  F(tensor_dim, kGraph, "_ZNK2ge6Tensor11GetShapeDimEm",                                            \
    std::int64_t(const ge::Tensor*, std::size_t))                                                   \
  F(initialize, kSession,                                                                           \
    "_ZN2ge12GEInitializeERKSt3mapINS_12AscendStringES1_St4lessIS1_ESaISt4pairIKS1_S1_EEE",         \
    GeStatus(const ge::Options&))                                                                   \
  F(finalize, kSession, "_ZN2ge10GEFinalizeEv", GeStatus())                                         \
  F(error_text, kOptional, "_ZN2ge15GEGetErrorMsgV2Ev", ge::AscendString())                         \
  F(warning_text, kOptional, "_ZN2ge17GEGetWarningMsgV2Ev", ge::AscendString())                     \
  F(session_create, kSession,                                                                       \
    "_ZN2ge7SessionC1ERKSt3mapINS_12AscendStringES2_St4lessIS2_ESaISt4pairIKS2_S2_EEE",             \
    void(ge::Session*, const ge::Options&))                                                         \
  F(session_destroy, kSession, "_ZN2ge7SessionD1Ev", void(ge::Session*))                            \
  F(session_add_graph, kSession,                                                                    \
    "_ZN2ge7Session8AddGraphEjRKNS_5GraphERKSt3mapINS_12AscendStringES5_St4lessIS5_"                \
    "ESaISt4pairIKS5_S5_EEE",                                                                       \
    GeStatus(ge::Session*, std::uint32_t, const ge::Graph&, const ge::Options&))                    \
  F(session_remove_graph, kSession, "_ZN2ge7Session11RemoveGraphEj",                                \
    GeStatus(ge::Session*, std::uint32_t))                                                          \
  F(session_compile, kSession, "_ZN2ge7Session12CompileGraphEj",                                    \
    GeStatus(ge::Session*, std::uint32_t))                                                          \
  F(session_summary, kSession, "_ZN2ge7Session23GetCompiledGraphSummaryEj",                         \
    std::shared_ptr<void>(ge::Session*, std::uint32_t))                                             \
  F(session_set_const_memory, kSession, "_ZN2ge7Session23SetGraphConstMemoryBaseEjPKvm",            \
    GeStatus(ge::Session*, std::uint32_t, const void*, std::size_t))                                \
  F(session_set_feature_memory, kSession, "_ZN2ge7Session28UpdateGraphFeatureMemoryBaseEjPKvm",     \
    GeStatus(ge::Session*, std::uint32_t, const void*, std::size_t))                                \
  F(session_set_fixed_memory, kOptional, "_ZN2ge7Session30SetGraphFixedFeatureMemoryBaseEjPKvm",    \
    GeStatus(ge::Session*, std::uint32_t, const void*, std::size_t))                                \
  F(session_register_allocator, kSession,                                                           \
    "_ZNK2ge7Session25RegisterExternalAllocatorEPKvSt10shared_ptrINS_9AllocatorEE",                 \
    GeStatus(const ge::Session*, const void*, std::shared_ptr<ge::Allocator>))                      \
  F(session_unregister_allocator, kOptional, "_ZNK2ge7Session27UnregisterExternalAllocatorEPKv",    \
    GeStatus(const ge::Session*, const void*))                                                      \
  F(session_run, kSession,                                                                          \
    "_ZN2ge7Session23RunGraphWithStreamAsyncEjPvRKSt6vectorINS_6TensorESaIS3_EERS5_",               \
    GeStatus(ge::Session*, std::uint32_t, void*, const std::vector<ge::Tensor>&,                    \
             std::vector<ge::Tensor>&))                                                             \
  F(session_load, kOptional, "GeSessionLoadGraph",                                                  \
    GeStatus(ge::Session&, std::uint32_t, const ge::Options&, void*))                               \
  F(session_execute, kOptional, "GeSessionExecuteGraphWithStreamAsync",                             \
    GeStatus(ge::Session&, std::uint32_t, void*, const std::vector<gert::Tensor>&,                  \
             std::vector<gert::Tensor>&))                                                           \
  F(session_json, kOptional, "GeSessionGraphDebugJSONPrint",                                        \
    GeStatus(ge::Session&, std::uint32_t, std::uint32_t, ge::AscendString&))                        \
  F(summary_is_static, kSession, "_ZNK2ge20CompiledGraphSummary8IsStaticEv", bool(const void*))     \
  F(summary_refreshable, kSession,                                                                  \
    "_ZNK2ge20CompiledGraphSummary31GetFeatureMemoryBaseRefreshableERb",                            \
    GeStatus(const void*, bool&))                                                                   \
  F(summary_const_size, kSession, "_ZNK2ge20CompiledGraphSummary18GetConstMemorySizeERm",           \
    GeStatus(const void*, std::size_t&))                                                            \
  F(summary_feature_size, kSession, "_ZNK2ge20CompiledGraphSummary20GetFeatureMemorySizeERm",       \
    GeStatus(const void*, std::size_t&))                                                            \
  F(summary_fixed_size, kOptional, "_ZNK2ge20CompiledGraphSummary25GetFixedFeatureMemorySizeERm",   \
    GeStatus(const void*, std::size_t&))                                                            \
  F(summary_shapes, kSession,                                                                       \
    "_ZNK2ge20CompiledGraphSummary15GetOutputShapesERSt6vectorINS_5ShapeESaIS2_EE",                 \
    GeStatus(const void*, std::vector<ge::Shape>&))                                                 \
  F(wrapper_initialize, kWrapper, "GeApiWrapper_GEInitialize",                                      \
    GeStatus(const char* const*, const char* const*, int))                                          \
  F(wrapper_finalize, kWrapper, "GeApiWrapper_GEFinalize", GeStatus())                              \
  F(wrapper_error_text, kWrapper, "GeApiWrapper_GEGetErrorMsg", const char*())                      \
  F(wrapper_session_create, kWrapper, "GeApiWrapper_Session_CreateSessionWithOptions",              \
    void*(const char* const*, const char* const*, int))                                             \
  F(wrapper_session_destroy, kWrapper, "GeApiWrapper_Session_DestroySession", void(const void*))    \
  F(wrapper_graph_create, kWrapper, "GeApiWrapper_Graph_CreateGraph", ge::Graph*(const char*))      \
  F(wrapper_graph_destroy, kWrapper, "GeApiWrapper_Graph_DestroyGraph", void(const ge::Graph*))     \
  F(wrapper_add_graph, kWrapper, "GeApiWrapper_Session_AddGraphWithOptions",                        \
    GeStatus(void*, std::uint32_t, ge::Graph*, const char* const*, const char* const*, int))        \
  F(wrapper_remove_graph, kWrapper, "GeApiWrapper_Session_RemoveGraph",                             \
    GeStatus(void*, std::uint32_t))                                                                 \
  F(wrapper_run, kWrapper, "GeApiWrapper_Session_RunGraphWithStreamAsync",                          \
    GeStatus(void*, std::uint32_t, void*, void**, int, ge::Tensor***, std::size_t*))                \
  F(wrapper_free_tensors, kWrapper, "GeApiWrapper_Session_FreeTensorArray", void(ge::Tensor**))     \
  F(wrapper_tensor_destroy, kWrapper, "GeApiWrapper_Tensor_DestroyEsCTensor", void(ge::Tensor*))    \
  F(wrapper_register_allocator, kWrapper, "GeApiWrapper_Session_RegisterExternalAllocator",         \
    GeStatus(const void*, const void*, void* (*)(void*, std::size_t), void (*)(void*, void*),       \
             void* (*)(void*), void (*)(void*), void*))                                             \
  F(wrapper_unregister_allocator, kWrapper, "GeApiWrapper_Session_UnregisterExternalAllocator",     \
    GeStatus(const void*, const void*))
// clang-format on

struct AclFunctions {
#define TORCHAIR_DECLARE(name, need, ...) std::add_pointer_t<__VA_ARGS__> name = nullptr;
  TORCHAIR_ACL_FUNCTIONS(TORCHAIR_DECLARE)
#undef TORCHAIR_DECLARE
};

struct GeFunctions {
#define TORCHAIR_DECLARE(name, need, symbol, ...) std::add_pointer_t<__VA_ARGS__> name = nullptr;
  TORCHAIR_GE_FUNCTIONS(TORCHAIR_DECLARE)
#undef TORCHAIR_DECLARE
};

} // namespace torchair::cann
