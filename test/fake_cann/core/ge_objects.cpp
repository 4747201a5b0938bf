// ge::AscendString, Shape, Tensor and Graph.
#include <cstring>
#include <new>

#include "ge.h"

namespace fake {

std::int64_t element_bytes(std::int32_t type) {
  switch (type) {
  case 2:
  case 4:
  case 12:
  case 34:
  case 35:
  case 36:
    return 1;
  case 1:
  case 6:
  case 7:
  case 27:
    return 2;
  case 0:
  case 3:
  case 8:
  case 33:
    return 4;
  case 9:
  case 10:
  case 11:
  case 16:
    return 8;
  case 17:
    return 16;
  default:
    return 0;
  }
}

PlainOptions plain(const Options& options) {
  PlainOptions made;
  for (const auto& [key, value] : options)
    made[key.value()] = value.value();
  return made;
}

bool ModelBytes::is_static() const {
  for (const auto* tensors : {&inputs, &outputs})
    for (const FakeTensor& tensor : *tensors)
      for (std::int32_t i = 0; i < tensor.rank; ++i)
        if (tensor.dims[i] < 0)
          return false;
  return true;
}

// ---------------------------------------------------------------- strings, shapes

void string_create(AscendString* self, const char* text) FAKE_SYMBOL("_ZN2ge12AscendStringC1EPKc");
void string_create(AscendString* self, const char* text) {
  new (self) AscendString{text == nullptr ? nullptr : std::make_shared<std::string>(text)};
}

bool string_less(const AscendString* self, const AscendString& other)
    FAKE_SYMBOL("_ZNK2ge12AscendStringltERKS0_");
bool string_less(const AscendString* self, const AscendString& other) { return *self < other; }

const char* string_text(const AscendString* self) FAKE_SYMBOL("_ZNK2ge12AscendString9GetStringEv");
const char* string_text(const AscendString* self) {
  return self->text == nullptr ? "" : self->text->c_str();
}

std::vector<std::int64_t> shape_dims(const Shape* self) FAKE_SYMBOL("_ZNK2ge5Shape7GetDimsEv");
std::vector<std::int64_t> shape_dims(const Shape* self) {
  return self->dims == nullptr ? std::vector<std::int64_t>() : self->dims->sizes;
}

// ---------------------------------------------------------------- tensors

void tensor_create(Tensor* self) FAKE_SYMBOL("_ZN2ge6TensorC1Ev");
void tensor_create(Tensor* self) { new (self) Tensor{std::make_shared<TensorBody>()}; }

Status tensor_set_type(Tensor* self, const std::int32_t& type)
    FAKE_SYMBOL("_ZN2ge6Tensor11SetDataTypeERKNS_8DataTypeE");
Status tensor_set_type(Tensor* self, const std::int32_t& type) {
  self->body->type = type;
  return 0;
}

Status tensor_set_format(Tensor* self, const std::int32_t& format)
    FAKE_SYMBOL("_ZN2ge6Tensor9SetFormatERKNS_6FormatE");
Status tensor_set_format(Tensor* self, const std::int32_t& format) {
  self->body->format = format;
  return 0;
}

Status tensor_set_placement(Tensor* self, const std::uint32_t& placement)
    FAKE_SYMBOL("_ZN2ge6Tensor12SetPlacementERKNS_9PlacementE");
Status tensor_set_placement(Tensor* self, const std::uint32_t& placement) {
  self->body->placement = placement;
  return 0;
}

Status tensor_set_rank(Tensor* self, std::size_t rank)
    FAKE_SYMBOL("_ZN2ge6Tensor14SetShapeDimNumEm");
Status tensor_set_rank(Tensor* self, std::size_t rank) {
  self->body->sizes.assign(rank, 0);
  return 0;
}

Status tensor_set_dim(Tensor* self, std::size_t index, std::int64_t size)
    FAKE_SYMBOL("_ZN2ge6Tensor11SetShapeDimEml");
Status tensor_set_dim(Tensor* self, std::size_t index, std::int64_t size) {
  const Lock lock = locked();
  if (index >= self->body->sizes.size())
    return ge_breach("ge::Tensor::SetShapeDim of a dimension that is not there");
  self->body->sizes[index] = size;
  return 0;
}

Status tensor_set_origin_rank(Tensor* self, std::size_t rank)
    FAKE_SYMBOL("_ZN2ge6Tensor20SetOriginShapeDimNumEm");
Status tensor_set_origin_rank(Tensor* self, std::size_t rank) {
  self->body->origin_sizes.assign(rank, 0);
  return 0;
}

Status tensor_set_origin_dim(Tensor* self, std::size_t index, std::int64_t size)
    FAKE_SYMBOL("_ZN2ge6Tensor17SetOriginShapeDimEml");
Status tensor_set_origin_dim(Tensor* self, std::size_t index, std::int64_t size) {
  const Lock lock = locked();
  if (index >= self->body->origin_sizes.size())
    return ge_breach("ge::Tensor::SetOriginShapeDim of a dimension that is not there");
  self->body->origin_sizes[index] = size;
  return 0;
}

Status tensor_set_data(Tensor* self, std::uint8_t* data, std::size_t bytes,
                       const std::function<void(std::uint8_t*)>& deleter)
    FAKE_SYMBOL("_ZN2ge6Tensor7SetDataEPhmRKSt8functionIFvS1_EE");
Status tensor_set_data(Tensor* self, std::uint8_t* data, std::size_t bytes,
                       const std::function<void(std::uint8_t*)>& deleter) {
  self->body->data = data;
  self->body->bytes = bytes;
  self->body->deleter = deleter;
  return 0;
}

const std::uint8_t* tensor_data(const Tensor* self) FAKE_SYMBOL("_ZNK2ge6Tensor7GetDataEv");
const std::uint8_t* tensor_data(const Tensor* self) { return self->body->data; }

std::size_t tensor_size(const Tensor* self) FAKE_SYMBOL("_ZNK2ge6Tensor7GetSizeEv");
std::size_t tensor_size(const Tensor* self) { return self->body->bytes; }

std::int32_t tensor_type(const Tensor* self) FAKE_SYMBOL("_ZNK2ge6Tensor11GetDataTypeEv");
std::int32_t tensor_type(const Tensor* self) { return self->body->type; }

std::size_t tensor_rank(const Tensor* self) FAKE_SYMBOL("_ZNK2ge6Tensor14GetShapeDimNumEv");
std::size_t tensor_rank(const Tensor* self) { return self->body->sizes.size(); }

std::int64_t tensor_dim(const Tensor* self, std::size_t index)
    FAKE_SYMBOL("_ZNK2ge6Tensor11GetShapeDimEm");
std::int64_t tensor_dim(const Tensor* self, std::size_t index) {
  return index < self->body->sizes.size() ? self->body->sizes[index] : 0;
}

// ---------------------------------------------------------------- graphs

void graph_create(Graph* self, const char* name) FAKE_SYMBOL("_ZN2ge5GraphC1EPKc");
void graph_create(Graph* self, const char* name) {
  new (self) Graph{std::make_shared<ModelBytes>()};
  self->model->name = name;
}

Status graph_load(Graph* self, const void* data, std::size_t bytes)
    FAKE_SYMBOL("_ZN2ge5Graph28LoadFromSerializedModelArrayEPKvm");
Status graph_load(Graph* self, const void* data, std::size_t bytes) {
  FakeInspect inspect = nullptr;
  {
    const Lock lock = locked();
    if (const Status injected = ge_enter("Graph.LoadFromSerializedModelArray"))
      return injected;
    inspect = state().model.inspect;
  }
  if (data == nullptr || bytes == 0 || bytes > INT32_MAX || inspect == nullptr)
    return ge_fail("a model of 0 bytes or more than 2 GiB");
  std::vector<FakeTensor> inputs(kFakeMostTensors), outputs(kFakeMostTensors);
  std::int32_t n_inputs = 0, n_outputs = 0;
  if (inspect(data, bytes, inputs.data(), &n_inputs, outputs.data(), &n_outputs) != 0)
    return ge_fail("the model cannot be parsed");
  inputs.resize(n_inputs);
  outputs.resize(n_outputs);
  self->model->bytes.assign(static_cast<const char*>(data), bytes);
  self->model->inputs = std::move(inputs);
  self->model->outputs = std::move(outputs);
  return 0;
}

} // namespace fake
