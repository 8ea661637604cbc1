#pragma once

// Which fields each message has, once for writing and reading: `visit(fields, message)` names every field, and a
// FieldWriter or a FieldReader does the work.

#include <array>
#include <string_view>

#include "engine/protocol/protocol.h"

namespace krasis::protocol {

inline constexpr double kMaxCount = 1e9;       // tokens, repetitions, indices
inline constexpr double kMaxBytes = 9e15;      // exact in a double
inline constexpr double kMaxSeconds = 1e9;     // 30 years
inline constexpr std::size_t kMaxName = 4096;  // names, stages, ids

template <class V>
void visit(V&, Hello&) {}
template <class V>
void visit(V&, Shutdown&) {}
template <class V>
void visit(V& v, Cancel& m) {
  v.name("id", m.id);
}
template <class V>
void visit(V& v, Load& m) {
  v.name("id", m.id);
  v.configuration("configuration", m.configuration);
}
template <class V>
void visit(V& v, Benchmark& m) {
  v.name("id", m.id);
  v.configuration("configuration", m.configuration);
  v.optional_text("trace_file", m.trace_file);
}
template <class V>
void visit(V& v, Message& m) {
  v.name("role", m.role);
  v.text("content", m.content);
}
template <class V>
void visit(V& v, Generate& m) {
  v.name("id", m.id);
  v.configuration("configuration", m.configuration);
  v.objects("messages", m.messages);
  v.text("prompt", m.prompt);
  v.count("max_tokens", m.max_tokens, 1, kMaxCount);
}

template <class V>
void visit(V& v, DeviceFacts& m) {
  v.name("kind", m.kind);
  v.name("name", m.name);
  v.count("index", m.index, 0, kMaxCount);
  v.count("memory_bytes", m.memory_bytes, 0, kMaxBytes);
}
template <class V>
void visit(V& v, MachineFacts& m) {
  v.name("machine", m.machine);
  v.name("cpu", m.cpu);
  v.count("memory_bytes", m.memory_bytes, 0, kMaxBytes);
  v.name("gpu", m.gpu);
  v.name("driver", m.driver);
  v.name("kernel", m.kernel);
  v.name("build", m.build);
  v.json("facts", m.facts_json);
  v.json("ceilings", m.ceilings_json);
}
template <class V>
void visit(V& v, ModelFacts& m) {
  v.name("fingerprint", m.fingerprint);
  v.name("name", m.name);
  v.name("model_type", m.model_type);
  v.name("architecture", m.architecture);
  v.boolean("synthetic", m.synthetic);
}
template <class V>
void visit(V& v, VerdictFacts& m) {
  v.word("verdict", m.verdict, std::array<std::string_view, 3>{"none", "pass", "fail"});
  v.name("figure", m.figure);
  v.optional_number("value", m.value);
  v.optional_number("threshold", m.threshold);
  v.text("explanation", m.explanation);
}
template <class V>
void visit(V& v, Ready& m) {
  v.name("program_version", m.program_version);
  v.objects("devices", m.devices);
  v.optional_text("why_no_gpu", m.why_no_gpu);
  v.optional_count("host_memory_bytes", m.host_memory_bytes, 0, kMaxBytes);
  v.object("machine", m.machine);
}
template <class V>
void visit(V& v, Environment& m) {
  v.object("machine", m.machine);
}
template <class V>
void visit(V& v, Loading& m) {
  v.name("id", m.id);
  v.name("stage", m.stage);
  v.real("done", m.done, 0, 1);
}
template <class V>
void visit(V& v, Loaded& m) {
  v.name("id", m.id);
  v.object("model", m.model);
  v.count("threads", m.threads, 0, kMaxCount);
  v.json("plan", m.plan_json);
  v.name("prompt_fingerprint", m.prompt_fingerprint);
  v.texts("notes", m.notes);
}
template <class V>
void visit(V& v, Stage& m) {
  v.name("id", m.id);
  v.name("stage", m.stage);
  v.count("index", m.index, 0, kMaxCount);
  v.count("count", m.count, 0, kMaxCount);
  v.optional_text("part", m.part);
  v.optional_count("done", m.done, 0, kMaxCount);
  v.optional_count("all", m.all, 0, kMaxCount);
  v.optional_real("share", m.share, 0, 1);
  v.optional_real("left_s", m.left_s, 0, kMaxSeconds);
}
template <class V>
void visit(V& v, Sample& m) {
  v.name("id", m.id);
  v.boolean("warm_up", m.warm_up);
  v.count("index", m.index, 0, kMaxCount);
  v.count("prefill_tokens", m.prefill_tokens, 0, kMaxCount);
  v.real("prefill_s", m.prefill_s, 0, kMaxSeconds);
  v.real("ttft_s", m.ttft_s, 0, kMaxSeconds);
  v.count("decode_tokens", m.decode_tokens, 0, kMaxCount);
  v.real("decode_s", m.decode_s, 0, kMaxSeconds);
  v.reals("decode_token_s", m.decode_token_s, 0, kMaxSeconds);
  v.json("metrics", m.metrics_json);
  v.text("output_text", m.output_text);
}
template <class V>
void visit(V& v, Token& m) {
  v.name("id", m.id);
  v.count("index", m.index, 0, kMaxCount);
  v.text("text", m.text);
  v.real("time_s", m.time_s, 0, kMaxSeconds);
}
template <class V>
void visit(V& v, Finished& m) {
  v.name("id", m.id);
  v.boolean("cancelled", m.cancelled);
  v.count("prompt_tokens", m.prompt_tokens, 0, kMaxCount);
  v.count("tokens", m.tokens, 0, kMaxCount);
  v.real("prefill_s", m.prefill_s, 0, kMaxSeconds);
  v.real("ttft_s", m.ttft_s, 0, kMaxSeconds);
  v.real("decode_s", m.decode_s, 0, kMaxSeconds);
  v.name("stop_reason", m.stop_reason);
  v.object("verdict", m.verdict);
  v.json("plan", m.plan_json);
  v.optional_json("telemetry", m.telemetry_json);
  v.optional_text("disturbance", m.disturbance);
}
template <class V>
void visit(V& v, Log& m) {
  v.word("level", m.level, std::array<std::string_view, 4>{"debug", "info", "warning", "error"});
  v.name("stage", m.stage);
  v.text("text", m.text);
}
template <class V>
void visit(V& v, Heartbeat& m) {
  v.real("uptime_s", m.uptime_s, 0, kMaxSeconds);
  v.name("stage", m.stage);
}
template <class V>
void visit(V& v, Failed& m) {
  v.name("id", m.id);
  v.name("code", m.code);
  v.text("cause", m.cause);
  v.text("remedy", m.remedy);
  v.name("stage", m.stage);
}

// "type" of each message, in the order of the variants.
inline constexpr std::array<std::string_view, std::variant_size_v<Request>> kRequestTypes{
    "hello", "load", "benchmark", "generate", "cancel", "shutdown"};
inline constexpr std::array<std::string_view, std::variant_size_v<Event>> kEventTypes{
    "ready", "environment", "loading", "loaded", "stage", "sample", "token", "finished", "log", "heartbeat", "error"};

}  // namespace krasis::protocol
