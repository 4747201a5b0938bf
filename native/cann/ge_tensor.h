// GE's tensors, made from and turned into views of memory.
#pragma once

#include <vector>

#include "cann/ge_session.h"

namespace torchair::cann {

// A ge::Tensor over the memory of a view, which it does not own. Throws GeError.
ge::Tensor make_tensor(const GeFunctions& ge, const TensorView& view);

// The same for GE's executor. Throws std::invalid_argument for more dimensions than it takes.
std::vector<gert::Tensor> make_executor_tensors(std::span<const TensorView> views);

// The view of a ge::Tensor.
TensorView view_of(const GeFunctions& ge, const ge::Tensor& tensor);

} // namespace torchair::cann
