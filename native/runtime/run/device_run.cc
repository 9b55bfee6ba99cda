// A run on an accelerator. Inputs, kernels and outputs are queued, and the run waits once, at its end. If a run has the
// same sizes and memory as the previous one, as in decoding, its work is recorded. Later runs replay the recording with
// one call.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "runtime/profile.h"
#include "runtime/executable.h"

namespace heddle {
namespace {

// Maximum size of all outputs in host_. If they are larger, download() copies them after the run.
constexpr size_t max_mirrored = size_t{1} << 20;
constexpr size_t max_recordings = 8;

bool recording_wanted() {
  const char* value = std::getenv("HEDDLE_CUDA_GRAPHS");
  return !value || std::strcmp(value, "0") != 0;
}

void wait_quietly(Accelerator& device) {
  try {
    device.wait();
  } catch (const Error&) {
    // The original error is already being thrown.
  }
}

}  // namespace

void Executable::prepare_device() {
  const ProgramDesc& d = program_->desc();
  size_t bytes = plan_->input_bytes, outputs = 0;
  const auto size = [&](int v) { return padded_to_line(d.largest(v).bytes()); };
  for (int v : d.outputs) outputs += size(v);
  output_offset_.assign(d.outputs.size(), npos);
  if (outputs <= max_mirrored)
    for (size_t i = 0; i < d.outputs.size(); ++i) {
      output_offset_[i] = bytes;
      bytes += size(d.outputs[i]);
    }
  fault_offset_ = bytes;
  host_ = std::make_unique<HostMemory>(accelerator_, bytes + 64);
  // A checked run waits after each node, and references compute on the host. Neither can be recorded.
  recordable_ = recording_wanted() && !plan_->checking && !plan_->uses_ranks;
  for (const PlannedNode& n : plan_->nodes) recordable_ &= n.is_noop || n.kernel;
}

void Executable::run_on_device(const RunArguments& a, Lane& lane, Context& context) {
  const ProgramDesc& d = program_->desc();
  Accelerator& device = *accelerator_;
  unsigned char* host = host_->data();
  for (size_t i = 0; i < a.inputs.size(); ++i)
    if (!a.inputs[i].empty()) std::memcpy(host + plan_->input_offsets[i], a.inputs[i].data(), a.inputs[i].size());
  try {
    device.mark_begin();
    queue_or_replay(a, lane, context);
    device.mark_end();
    device.wait();
  } catch (...) {
    wait_quietly(device);  // no kernel of this run may outlive it
    last_ = {};
    throw;
  }
  store_waited_seconds(context);
  device_seconds_.store(device.marked_seconds(), std::memory_order_relaxed);
  int fault = 0;
  std::memcpy(&fault, host + fault_offset_, sizeof fault);
  if (fault) explain_fault(fault - 1, device);
  for (size_t i = 0; i < a.outputs.size(); ++i) {
    if (!a.outputs[i].bytes) continue;
    if (output_offset_[i] != npos) std::memcpy(a.outputs[i].data, host + output_offset_[i], a.outputs[i].bytes);
    else device.download(a.outputs[i].data, values_[d.outputs[i]].data, a.outputs[i].bytes);
  }
}

void Executable::queue_run(const RunArguments& a, Lane& lane, Context& context) {
  const ProgramDesc& d = program_->desc();
  Accelerator& device = *accelerator_;
  unsigned char* host = host_->data();
  for (size_t i = 0; i < a.inputs.size(); ++i)
    if (!a.inputs[i].empty())
      device.queue_upload(values_[d.inputs[i]].data, host + plan_->input_offsets[i], a.inputs[i].size());
  device.queue_clear_fault();
  run_nodes(a, lane, context);
  device.queue_fault(reinterpret_cast<int*>(host + fault_offset_));
  for (size_t i = 0; i < a.outputs.size(); ++i)
    if (a.outputs[i].bytes && output_offset_[i] != npos)
      device.queue_download(host + output_offset_[i], values_[d.outputs[i]].data, a.outputs[i].bytes);
}

void Executable::forget_recordings() {
  recordings_.clear(), last_ = {};
  recording_count_.store(0, std::memory_order_relaxed);
}

void Executable::queue_or_replay(const RunArguments& a, Lane& lane, Context& context) {
  if (!recordable_ || Profile::on()) return queue_run(a, lane, context);  // a profile waits after each node
  Accelerator& device = *accelerator_;
  RecordingKey key{a.symbols, arena_, static_cast<unsigned char*>(context.scratch)};
  for (size_t i = 0; i < recordings_.size(); ++i) {
    if (!(recordings_[i].first == key)) continue;
    lane.cancellation(a.abort.get()).check();
    std::rotate(recordings_.begin() + static_cast<std::ptrdiff_t>(i),
        recordings_.begin() + static_cast<std::ptrdiff_t>(i) + 1, recordings_.end());
    return device.replay(*recordings_.back().second);
  }
  const bool again = last_ == key;
  last_ = key;
  // The first run of its kind also loads kernels, which cannot be recorded.
  if (!again) return queue_run(a, lane, context);
  std::shared_ptr<Recording> recording;
  try {
    device.begin_recording();
    queue_run(a, lane, context);
    recording = device.end_recording();
  } catch (const Error& e) {
    device.drop_recording();
    if (std::strcmp(e.code(), "ABORTED") == 0 || std::strcmp(e.code(), "DEVICE_LOST") == 0) throw;
    recordable_ = false;  // a kernel cannot be recorded; run without recording, which may report an error
    return queue_run(a, lane, context);
  } catch (...) {
    device.drop_recording();  // out of host memory; ends the recording, so that the stream stays usable
    throw;
  }
  if (recordings_.size() == max_recordings) recordings_.erase(recordings_.begin());
  recordings_.emplace_back(std::move(key), std::move(recording));
  recording_count_.store(static_cast<int>(recordings_.size()), std::memory_order_relaxed);
  device.replay(*recordings_.back().second);
}

}  // namespace heddle
