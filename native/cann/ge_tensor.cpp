#include "cann/ge_tensor.h"

namespace torchair::cann {
namespace {

constexpr std::int32_t kFormatNd = 2;
constexpr std::uint32_t kOnHost = 0, kOnDevice = 1;

void check(GeStatus status, const char* function) {
  if (status != 0)
    throw GeError(function, status, {});
}

} // namespace

ge::Tensor make_tensor(const GeFunctions& ge, const TensorView& view) {
  ge::Tensor tensor;
  ge.tensor_create(&tensor);
  check(ge.tensor_set_type(&tensor, view.type), "ge::Tensor::SetDataType");
  check(ge.tensor_set_format(&tensor, kFormatNd), "ge::Tensor::SetFormat");
  check(ge.tensor_set_placement(&tensor, view.on_host ? kOnHost : kOnDevice),
        "ge::Tensor::SetPlacement");
  check(ge.tensor_set_rank(&tensor, view.shape.size()), "ge::Tensor::SetShapeDimNum");
  check(ge.tensor_set_origin_rank(&tensor, view.shape.size()), "ge::Tensor::SetOriginShapeDimNum");
  for (std::size_t i = 0; i < view.shape.size(); ++i) {
    check(ge.tensor_set_dim(&tensor, i, view.shape[i]), "ge::Tensor::SetShapeDim");
    check(ge.tensor_set_origin_dim(&tensor, i, view.shape[i]), "ge::Tensor::SetOriginShapeDim");
  }
  const auto keep = [](std::uint8_t*) {};
  check(ge.tensor_set_data(&tensor, static_cast<std::uint8_t*>(view.data), view.bytes, keep),
        "ge::Tensor::SetData");
  return tensor;
}

TensorView view_of(const GeFunctions& ge, const ge::Tensor& tensor) {
  TensorView view;
  view.data = const_cast<std::uint8_t*>(ge.tensor_data(&tensor));
  view.bytes = ge.tensor_size(&tensor);
  view.type = ge.tensor_type(&tensor);
  const std::size_t rank = ge.tensor_rank(&tensor);
  view.shape.reserve(rank);
  for (std::size_t i = 0; i < rank; ++i)
    view.shape.push_back(ge.tensor_dim(&tensor, i));
  return view;
}

} // namespace torchair::cann
