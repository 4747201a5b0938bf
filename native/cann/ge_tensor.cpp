#include "cann/ge_tensor.h"

#include <algorithm>

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

std::vector<gert::Tensor> make_executor_tensors(std::span<const TensorView> views) {
  std::vector<gert::Tensor> tensors(views.size());
  for (std::size_t i = 0; i < views.size(); ++i) {
    const TensorView& view = views[i];
    if (view.shape.size() > gert::kMostDims)
      throw std::invalid_argument("a tensor has more than 25 dimensions");
    gert::Tensor& tensor = tensors[i];
    tensor.shape.origin.rank = view.shape.size();
    std::copy(view.shape.begin(), view.shape.end(), tensor.shape.origin.dims);
    tensor.shape.storage = tensor.shape.origin;
    tensor.type = view.type;
    tensor.data.address = view.data;
    tensor.data.bytes = view.bytes;
    tensor.data.placement = view.on_host ? gert::kOnHost : gert::kOnDevice;
  }
  return tensors;
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
