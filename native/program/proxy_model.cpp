#include "program/proxy_model.h"

#include <utility>

namespace {

thread_local torchair::program::ProxyHandle received = nullptr;

using Status = std::int32_t;
using Container = void*;
constexpr Status kSuccess = 0;
constexpr Status kFailure = 1;

} // namespace

namespace torchair::program {

ProxyHandle take_proxy_handle() { return std::exchange(received, nullptr); }

} // namespace torchair::program

#define MODEL_EXPORT __attribute__((visibility("default")))

// The functions that torch looks up in a model library. All that concern constants, inputs and
// outputs report that there are none; torch prints a warning for each one that is absent.
extern "C" {

MODEL_EXPORT Status AOTInductorModelContainerCreateWithDevice(Container* container, std::size_t,
                                                              const char*, const char*) {
  static char model; // an address that is not null
  *container = &model;
  return kSuccess;
}

MODEL_EXPORT Status AOTInductorModelContainerDelete(Container) { return kSuccess; }

MODEL_EXPORT Status AOTInductorModelContainerRun(Container, void**, std::size_t, void**,
                                                 std::size_t, void*,
                                                 torchair::program::ProxyHandle proxy) {
  received = proxy;
  return kSuccess;
}

MODEL_EXPORT Status
AOTInductorModelContainerRunSingleThreaded(Container, void**, std::size_t, void**, std::size_t,
                                           void*, torchair::program::ProxyHandle proxy) {
  received = proxy;
  return kSuccess;
}

MODEL_EXPORT Status AOTInductorModelContainerGetNumOutputs(Container, std::size_t* count) {
  *count = 0;
  return kSuccess;
}

MODEL_EXPORT Status AOTInductorModelContainerGetNumConstants(Container, std::size_t* count) {
  *count = 0;
  return kSuccess;
}

MODEL_EXPORT Status AOTInductorModelContainerGetConstantName(Container, std::size_t, const char**) {
  return kFailure;
}

MODEL_EXPORT Status AOTInductorModelContainerGetConstantOriginalFQN(Container, std::size_t,
                                                                    const char**) {
  return kFailure;
}

MODEL_EXPORT Status AOTInductorModelContainerGetConstantDtype(Container, std::size_t,
                                                              std::int32_t*) {
  return kFailure;
}

MODEL_EXPORT Status AOTInductorModelContainerExtractConstantsMap(Container, void*, bool) {
  return kSuccess;
}

MODEL_EXPORT Status AOTInductorModelContainerUpdateUserManagedConstantBuffer(Container, void*, bool,
                                                                             bool) {
  return kFailure;
}

MODEL_EXPORT Status AOTInductorModelContainerUpdateConstantBuffer(Container, void*, bool, bool) {
  return kFailure;
}

MODEL_EXPORT Status AOTInductorModelContainerUpdateConstantBufferFromCpu(Container, void*, bool,
                                                                         bool) {
  return kFailure;
}

MODEL_EXPORT Status AOTInductorModelContainerUpdateInactiveConstantBuffer(Container, void*) {
  return kFailure;
}

MODEL_EXPORT Status AOTInductorModelContainerFreeInactiveConstantBuffer(Container) {
  return kSuccess;
}

MODEL_EXPORT Status AOTInductorModelContainerRunConstantFolding(Container, bool, void*, void*) {
  return kSuccess;
}

MODEL_EXPORT Status AOTInductorModelContainerSwapConstantBuffer(Container) { return kSuccess; }

MODEL_EXPORT Status AOTInductorModelContainerGetConstantsBlobSize(Container, std::uint64_t* size) {
  *size = 0;
  return kSuccess;
}

MODEL_EXPORT Status AOTInductorModelUpdateConstantsFromBlob(Container, const std::uint8_t*) {
  return kFailure;
}

MODEL_EXPORT Status AOTInductorModelContainerGetCallSpec(Container, const char** inputs,
                                                         const char** outputs) {
  *inputs = "";
  *outputs = "";
  return kSuccess;
}

MODEL_EXPORT Status AOTInductorGetLastError(const char** text) {
  *text = "this library is a torchair proxy model: it has no constants";
  return kSuccess;
}

} // extern "C"
