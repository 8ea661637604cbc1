#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "engine/config/run_configuration.h"

/// What a worker process and its client say to each other: one JSON object for each line, "v" first, then "type".
/// docs/worker-protocol.md describes the conversation, protocol.schema.json every field. The structs are plain values;
/// fields that end in `_json` hold the text of a JSON object.
namespace krasis::protocol {

inline constexpr int kVersion = 1;
inline constexpr std::size_t kMaxLineBytes = std::size_t{16} << 20;
inline constexpr int kMaxDepth = 32;

// Requests: client to worker. `id` is the client's own, and every event about the request repeats it. --------------

/// Asks for Ready; the worker also says it by itself when it starts.
struct Hello {
  bool operator==(const Hello&) const = default;
};
/// Ends with Loaded or Failed.
struct Load {
  std::string id;
  RunConfiguration configuration;
  bool operator==(const Load&) const = default;
};
/// Loads what the configuration needs unless it is loaded. Events: Loading..., Loaded, Environment, Stage and Sample
/// for each warm-up and repetition; ends with Finished or Failed.
struct Benchmark {
  std::string id;
  RunConfiguration configuration;
  std::string trace_file = {};  ///< where the worker writes a trace in Chrome's format; empty: nowhere
  bool operator==(const Benchmark&) const = default;
};
struct Message {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
  bool operator==(const Message&) const = default;
};
/// Continues a conversation (`messages`, through the model's chat template) or a plain text (`prompt`): exactly one of
/// them is not empty. Sampling is the configuration's. Events: Loading..., Loaded, Token...; ends with Finished or
/// Failed.
struct Generate {
  std::string id;
  RunConfiguration configuration;
  std::vector<Message> messages;
  std::string prompt;
  std::int64_t max_tokens = 256;
  bool operator==(const Generate&) const = default;
};
/// Stops the request that is being worked on, if it has this id (empty: any). It then ends with Finished, cancelled; a
/// Load ends with Failed, whose code is "cancelled".
struct Cancel {
  std::string id;
  bool operator==(const Cancel&) const = default;
};
/// Stops what is being done and ends the process with exit code 0.
struct Shutdown {
  bool operator==(const Shutdown&) const = default;
};

using Request = std::variant<Hello, Load, Benchmark, Generate, Cancel, Shutdown>;

// Events: worker to client. ----------------------------------------------------------------------------------------

struct DeviceFacts {
  std::string kind;  ///< "host", "cuda"
  std::string name;
  std::int64_t index = 0;
  std::int64_t memory_bytes = 0;
  bool operator==(const DeviceFacts&) const = default;
};
/// The machine; the results database's EnvironmentRecord has the same fields.
struct MachineFacts {
  std::string machine;  ///< short label: "EPYC 9654, 755 GiB"
  std::string cpu;
  std::int64_t memory_bytes = 0;
  std::string gpu, driver, kernel;
  std::string build;                 ///< fingerprint of the worker's binary
  std::string facts_json = "{}";     ///< cores, governor, compiler, ...
  std::string ceilings_json = "{}";  ///< measured bandwidths in GB/s; empty until measured
  bool operator==(const MachineFacts&) const = default;
};
struct Ready {
  std::string program_version;
  std::vector<DeviceFacts> devices;
  MachineFacts machine;
  std::string why_no_gpu = {};  ///< a sentence; empty if there is one
  /// What a model and its run may take of the host's memory, once the worker has given up what it holds; 0 = not known.
  std::int64_t host_memory_bytes = 0;
  bool operator==(const Ready&) const = default;
};
/// The machine once more, its ceilings measured.
struct Environment {
  MachineFacts machine;
  bool operator==(const Environment&) const = default;
};
/// How the stage of Loading begins while another worker of the machine computes: "waiting for a benchmark of process 7,
/// ...".
inline constexpr std::string_view kWaitingFor = "waiting for ";

struct Loading {
  std::string id;
  std::string stage;  ///< "quantize", "read cache", ..., or kWaitingFor and whom
  double done = 0;    ///< 0..1
  bool operator==(const Loading&) const = default;
};
struct ModelFacts {
  std::string fingerprint;  ///< of the weights' content
  std::string name;
  std::string model_type;
  std::string architecture;  ///< one line
  bool synthetic = false;
  bool operator==(const ModelFacts&) const = default;
};
struct Loaded {
  std::string id;
  ModelFacts model;
  std::int64_t threads = 0;        ///< CPU threads that compute experts; 0 = unknown
  std::string plan_json = "{}";    ///< plan_json.h
  std::string prompt_fingerprint;  ///< of a benchmark's prompt; otherwise empty
  std::vector<std::string> notes;  ///< what the loader or the runner wants the user to know
  bool operator==(const Loaded&) const = default;
};
/// What a benchmark does now: "warm-up", "trace", "parts of decode", "repetition" or "verdict". Sent when a stage
/// begins, and some times a second while it goes on.
struct Stage {
  std::string id;
  std::string stage;
  std::int64_t index = 0;  ///< from 0
  std::int64_t count = 0;  ///< of such stages
  /// How far the stage is, counted in: "prompt" (tokens that are read), "text" (tokens that are written) or "reference"
  /// (positions that the verdict has recomputed). Empty: nothing is counted.
  std::string part = {};
  std::int64_t done = 0, all = 0;  ///< of `part`
  double share = 0;                ///< of the whole benchmark's time, loading left out; 0 = not known
  double left_s = 0;               ///< seconds to its end; 0 = not known
  bool operator==(const Stage&) const = default;
};
/// One repetition, or one warm-up; raw numbers of the steady clock, in seconds.
struct Sample {
  std::string id;
  bool warm_up = false;
  std::int64_t index = 0;  ///< from 0, warm-ups and repetitions counted separately
  std::int64_t prefill_tokens = 0;
  double prefill_s = 0;
  double ttft_s = 0;
  std::int64_t decode_tokens = 0;  ///< after the first one
  double decode_s = 0;
  std::vector<double> decode_token_s;
  std::string metrics_json = "{}";  ///< cache hits, share of the limit, ...
  std::string output_text;
  bool operator==(const Sample&) const = default;
};
struct Token {
  std::string id;
  std::int64_t index = 0;  ///< from 0
  std::string text;        ///< whole characters; may be empty
  double time_s = 0;       ///< since the request began to be computed
  bool operator==(const Token&) const = default;
};
/// "none", "pass" or "fail", and the figure that decided it.
struct VerdictFacts {
  std::string verdict = "none";
  std::string figure;
  std::optional<double> value, threshold;
  std::string explanation;  ///< how many tokens were judged; for FAIL, where it went wrong
  bool operator==(const VerdictFacts&) const = default;
};
struct Finished {
  std::string id;
  bool cancelled = false;
  std::int64_t prompt_tokens = 0;
  std::int64_t tokens = 0;  ///< generated; of a benchmark: of the last repetition
  double prefill_s = 0, ttft_s = 0, decode_s = 0;
  std::string stop_reason;  ///< "length", "end of text", "cancelled"
  VerdictFacts verdict;
  std::string plan_json = "{}";       ///< with the high-water marks that were reached
  std::string telemetry_json = "{}";  ///< of a benchmark: bench/telemetry.h
  std::string disturbance = {};  ///< of a benchmark: who else computed meanwhile, in sentences; empty: nobody was seen
  bool operator==(const Finished&) const = default;
};
struct Log {
  std::string level;  ///< "debug", "info", "warning", "error"
  std::string stage;
  std::string text;
  bool operator==(const Log&) const = default;
};
/// Every second from a thread of its own, whatever the engine is doing.
struct Heartbeat {
  double uptime_s = 0;
  std::string stage;
  bool operator==(const Heartbeat&) const = default;
};
/// A request that failed (with its id), or a line that was none (without). The worker goes on.
struct Failed {
  std::string id;
  std::string code;  ///< code_name()
  std::string cause, remedy;
  std::string stage;  ///< "start", "load", "warm-up", "repetition", "verdict", "generate"
  bool operator==(const Failed&) const = default;
};

using Event = std::variant<Ready, Environment, Loading, Loaded, Stage, Sample, Token, Finished, Log, Heartbeat, Failed>;

/// One line without its line feed. Text that is not UTF-8 gets U+FFFD in place of the bad bytes.
std::string encode(const Request& request);
std::string encode(const Event& event);

/// Reads one line. Corrupt for text that is no JSON object, not UTF-8, nested more than kMaxDepth deep, longer than
/// kMaxLineBytes, of an unknown type, or with missing, mistyped or absurd fields (named); Unsupported for another
/// version. Fields that are not known are ignored. Never throws.
Expected<Request> decode_request(std::string_view line);
Expected<Event> decode_event(std::string_view line);

/// "out_of_memory" for OutOfMemory and so on; error_code is its inverse (Internal for what it does not know).
std::string_view code_name(ErrorCode code);
ErrorCode error_code(std::string_view name);
Failed failed(const Error& error, std::string id, std::string stage);

/// Cuts a stream of bytes into lines.
class LineSplitter {
 public:
  /// The lines that are complete now, without their line feeds. Corrupt as soon as a line exceeds kMaxLineBytes; what
  /// follows up to the next line feed is then dropped.
  std::vector<Expected<std::string>> append(std::string_view bytes);
  /// Bytes behind the last line feed.
  const std::string& rest() const { return rest_; }

 private:
  std::string rest_;
  bool dropping_ = false;
};

}  // namespace krasis::protocol
