/* What tests ask of the fake CANN. libfake_cann.so exports this; the other libraries do not. */
#ifndef FAKE_CANN_CONTROL_H
#define FAKE_CANN_CONTROL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A tensor of a model or of a run. `type` is ge::DataType; a dimension of -1 is unknown. */
typedef struct {
  void* data;
  uint64_t bytes;
  int32_t type;
  int32_t rank;
  int64_t dims[16];
} FakeTensor;

enum { kFakeMostTensors = 512 };

/* Reads a serialized model: the tensors of its inputs and outputs. Returns 0, or else the model
 * cannot be loaded. The arrays have kFakeMostTensors places. */
typedef int (*FakeInspect)(const void* model, uint64_t bytes, FakeTensor* inputs, int32_t* n_inputs,
                           FakeTensor* outputs, int32_t* n_outputs);

/* Computes all outputs. Takes their memory from fake_cann_scratch and fills every field. */
typedef int (*FakeExecute)(const void* model, uint64_t bytes, const FakeTensor* inputs,
                           int32_t n_inputs, FakeTensor* outputs, int32_t n_outputs);

void fake_cann_set_model(FakeInspect inspect, FakeExecute execute);

/* Memory for the outputs of the running FakeExecute. */
void* fake_cann_scratch(uint64_t bytes);

/* The nth call (from 1; 0: every call) of a function returns `code` and does nothing. Functions of
 * ACL have their own names, those of GE are called "Session.AddGraph" and so on. */
void fake_cann_inject(const char* function, int32_t nth, int32_t code);
/* From now on every call but those that free or end something fails with 507010. */
void fake_cann_lose_device(void);
/* Bytes of device memory, 0: no limit. */
void fake_cann_set_memory(uint64_t bytes);

/* Queued work takes this long; a wait with a shorter limit ends with 107019. */
void fake_cann_set_delay(int32_t milliseconds);

/* The device prints: the text goes into the channel that the driver has made. */
void fake_cann_print(const char* text);

/* Texts, one line each entry, valid until the next call of the same function. */
const char* fake_cann_breaches(void);
const char* fake_cann_calls(void);
const char* fake_cann_leaks(void);   /* what is alive now */
const char* fake_cann_options(void); /* "process|session|graph N: key=value" */
int32_t fake_cann_count(const char* function);

/* Starts from nothing, as a new process does. Nothing may be running. */
void fake_cann_reset(void);

#ifdef __cplusplus
}
#endif
#endif
