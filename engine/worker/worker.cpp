#include "engine/worker/worker.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include "engine/bench/environment.h"
#include "engine/bench/runner.h"
#include "engine/protocol/protocol.h"
#include "engine/protocol/protocol_fields.h"
#include "engine/runtime/platform.h"
#include "engine/runtime/setup.h"
#include "engine/text/detokenizer.h"
#include "engine/worker/compute_turn.h"

namespace krasis {
namespace {

using namespace protocol;
using Clock = std::chrono::steady_clock;
using WorkerEvent = protocol::Event;  // a Device has events, too

/// 0 where the system says nothing, or nonsense.
std::int64_t reported_bytes(std::size_t bytes) {
  return static_cast<double>(bytes) < kMaxBytes ? static_cast<std::int64_t>(bytes) : 0;
}

/// A repetition may be longer than another worker's whole life, and a look costs milliseconds.
constexpr int kBeatsPerLook = 5;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

/// Writes whole lines, from any thread. A client that is gone ends the process: nobody would hear the rest.
class Output {
 public:
  explicit Output(int descriptor) : descriptor_(descriptor) {}
  void send(const WorkerEvent& event) {
    const std::string line = encode(event) + "\n";
    const std::lock_guard lock(mutex_);
    for (std::size_t done = 0; done < line.size();) {
      const ssize_t n = ::write(descriptor_, line.data() + done, line.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) std::_Exit(1);
      done += static_cast<std::size_t>(n);
    }
  }

 private:
  std::mutex mutex_;
  int descriptor_;
};

/// Requests in order; Cancel and Shutdown act at once.
class Inbox {
 public:
  explicit Inbox(Output& output) : output_(output) {}

  /// Reads until the input ends or `stop`; runs on its own thread.
  void read(int descriptor, std::stop_token stop) {
    LineSplitter splitter;
    char block[65536];
    while (!stop.stop_requested()) {
      pollfd waiting{descriptor, POLLIN, 0};
      if (::poll(&waiting, 1, 100) <= 0) continue;
      const ssize_t n = ::read(descriptor, block, sizeof block);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      for (const auto& line : splitter.append({block, static_cast<std::size_t>(n)})) {
        if (line && line->empty()) continue;
        auto request = line.and_then([](const std::string& text) { return decode_request(text); });
        if (request) {
          accept(std::move(*request));
        } else {
          output_.send(WorkerEvent{failed(request.error(), "", "request")});
        }
      }
    }
    accept(Shutdown{});
  }

  /// The next request, Shutdown when there will be none.
  Request next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || !queue_.empty(); });
    if (queue_.empty()) return Shutdown{};
    Request request = std::move(queue_.front());
    queue_.pop_front();
    return request;
  }

  /// Starts the request `id`: its token is stopped by a Cancel for it or by Shutdown.
  std::stop_token begin(const std::string& id) {
    const std::lock_guard lock(mutex_);
    current_ = id;
    stop_ = std::stop_source();
    if (ended_) stop_.request_stop();
    return stop_.get_token();
  }

 private:
  void accept(Request request) {
    const std::lock_guard lock(mutex_);
    if (const auto* cancel = std::get_if<Cancel>(&request)) {
      if (cancel->id.empty() || cancel->id == current_) stop_.request_stop();
      // A request that has not begun yet is dropped; its client knows by the Finished that it gets.
      for (auto it = queue_.begin(); it != queue_.end();) {
        const std::string id = id_of(*it);
        const bool drop = !id.empty() && id == cancel->id;
        if (drop) output_.send(WorkerEvent{Finished{.id = id, .cancelled = true, .stop_reason = "cancelled"}});
        it = drop ? queue_.erase(it) : it + 1;
      }
      return;
    }
    if (std::holds_alternative<Shutdown>(request)) {
      ended_ = true;
      queue_.clear();
      stop_.request_stop();
    } else {
      queue_.push_back(std::move(request));
    }
    changed_.notify_all();
  }

  static std::string id_of(const Request& request) {
    return std::visit(
        [](const auto& r) {
          if constexpr (requires { r.id; }) return r.id;
          return std::string();
        },
        request);
  }

  Output& output_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Request> queue_;
  bool ended_ = false;
  std::string current_;
  std::stop_source stop_;
};

/// The name of what is being done, for heartbeats and errors.
class StageName {
 public:
  void set(std::string name) {
    const std::lock_guard lock(mutex_);
    name_ = std::move(name);
  }
  std::string get() const {
    const std::lock_guard lock(mutex_);
    return name_;
  }

 private:
  mutable std::mutex mutex_;
  std::string name_ = "idle";
};

class Worker {
 public:
  Worker(const WorkerOptions& options, Output& output, Inbox& inbox, StageName& stage, ComputeTurns& turns)
      : options_(options), output_(output), inbox_(inbox), stage_(stage), turns_(turns) {}

  void hello() {
    Ready ready;
    ready.program_version = KRASIS_VERSION;
    machine_.gpu.clear();
    for (const AcceleratorInfo& found : accelerators(&ready.why_no_gpu)) {
      const bool host = found.kind == "host";
      const auto index = static_cast<std::int64_t>(ready.devices.size());
      ready.devices.push_back({found.kind, host ? machine_.cpu : found.name, host ? 0 : index - 1, reported_bytes(found.total_bytes)});
      if (!host) machine_.gpu += (machine_.gpu.empty() ? "" : ", ") + found.name;
    }
    ready.machine = machine_;
    const std::size_t held = session_ ? session_->engine->model().bytes() : 0;
    ready.host_memory_bytes = reported_bytes(host_hardware(held).host_memory_bytes);
    output_.send(WorkerEvent{ready});
  }

  /// False when the worker shall end.
  bool handle(const Request& request) {
    if (std::holds_alternative<Shutdown>(request)) return false;
    if (std::holds_alternative<Hello>(request)) {
      hello();
      return true;
    }
    std::string id;
    Expected<void> done;
    // std::bad_alloc may come out of any library that grows a vector: it costs the request, not the process.
    try {
      done = std::visit([&](const auto& r) { return serve(r, id); }, request);
    } catch (const std::bad_alloc&) {
      done = fail(ErrorCode::OutOfMemory, "The machine's memory is used up.", "Choose fewer bits or a smaller context.");
    } catch (const std::exception& e) {
      done = fail(ErrorCode::Internal, std::string("Unexpected: ") + e.what() + ".", "Please report it.");
    }
    if (!done) output_.send(WorkerEvent{failed(done.error(), id, stage_.get())});
    stage_.set("idle");
    return true;
  }

 private:
  template <class Other>
  Expected<void> serve(const Other&, std::string&) {
    return {};
  }

  Expected<void> serve(const Load& load, std::string& id) {
    id = load.id;
    const std::stop_token stop = inbox_.begin(id);
    const ComputeTurns::Turn turn(turns_);
    KRASIS_CHECK(ready(load.configuration, id, "loading", stop));
    output_.send(WorkerEvent{loaded(id, {}, {})});
    return {};
  }

  Expected<void> serve(const Benchmark& benchmark, std::string& id) {
    id = benchmark.id;
    const RunConfiguration& c = benchmark.configuration;
    const std::stop_token stop = inbox_.begin(id);
    const ComputeTurns::Turn turn(turns_);
    if (auto done = ready(c, id, "a benchmark", stop); !done) {
      if (done.error().code != ErrorCode::Cancelled) return done;
      return finish_cancelled(id);
    }
    BenchmarkPrompt prompt;
    if (session_->tokenizer) {
      KRASIS_TRY(prompt, text_prompt(*session_->tokenizer, session_->text, c.prompt_tokens));
    } else {
      prompt =
          random_prompt(session_->engine->model().spec.vocabulary, c.prompt_tokens, static_cast<std::uint64_t>(c.seed));
    }
    output_.send(WorkerEvent{loaded(id, prompt.fingerprint, prompt.notes)});
    if (ceilings_.threads != session_->engine->team().size() || measured_on_ != c.device + c.gpus + c.numa) {
      stage_.set("limits");
      const HostRegion& experts = session_->engine->model().gpu_experts;
      ceilings_ = measure_ceilings(session_->engine->team(), c, {experts.data(), experts.bytes()});
      measured_on_ = c.device + c.gpus + c.numa;
      machine_.ceilings_json = to_json(ceilings_);
    }
    output_.send(WorkerEvent{Environment{machine_}});
    turns_.watch();
    std::pair<std::string, std::int64_t> begun;
    const BenchmarkEvents events{[&](const Stage& stage) {
                                   // Between stages alone: within one it would cost measured time.
                                   const auto which = std::pair(stage.stage, stage.index);
                                   if (std::exchange(begun, which) != which) turns_.look();
                                   stage_.set(stage.stage);
                                   output_.send(WorkerEvent{stage});
                                 },
                                 [&](const Sample& sample) { output_.send(WorkerEvent{sample}); }};
    const Tokenizer* tokenizer = session_->tokenizer ? &*session_->tokenizer : nullptr;
    KRASIS_TRY(Finished finished,
               run_benchmark(*session_->engine, tokenizer, prompt, c, ceilings_, judge_, id, events, stop,
                             benchmark.trace_file));
    finished.plan_json = session_->plan_json();
    finished.disturbance = turns_.disturbance();
    output_.send(WorkerEvent{finished});
    return {};
  }

  Expected<void> serve(const Generate& request, std::string& id) {
    id = request.id;
    const std::stop_token stop = inbox_.begin(id);
    const ComputeTurns::Turn turn(turns_);
    if (auto done = ready(request.configuration, id, "a chat", stop); !done) {
      if (done.error().code != ErrorCode::Cancelled) return done;
      return finish_cancelled(id);
    }
    output_.send(WorkerEvent{loaded(id, {}, {})});
    if (!session_->tokenizer) {
      return fail(ErrorCode::Unsupported, "A synthetic model has no tokenizer, so it cannot chat.", "Choose a trained model.");
    }
    stage_.set("generate");
    const Tokenizer& tokenizer = *session_->tokenizer;
    KRASIS_TRY(const std::string text, prompt_text(request));
    KRASIS_TRY(const std::vector<std::int32_t> tokens, tokenizer.encode(text));
    Engine& engine = *session_->engine;
    engine.set_sampling(request.configuration);
    const auto room = static_cast<std::int64_t>(engine.configuration().max_context) - static_cast<std::int64_t>(tokens.size());
    GenerationOptions options;
    options.max_new_tokens = static_cast<int>(std::clamp<std::int64_t>(request.max_tokens, 1, std::max<std::int64_t>(room, 1)));
    options.stop = stop;
    Detokenizer detokenizer(tokenizer);
    const auto begin = Clock::now();
    Finished finished{.id = id, .prompt_tokens = static_cast<std::int64_t>(tokens.size())};
    KRASIS_TRY(const Generation generation, engine.generate(tokens, options, [&](std::int32_t token, int index) {
      output_.send(WorkerEvent{Token{id, index, detokenizer.append(token).value_or(""), seconds_since(begin)}});
    }));
    finished.tokens = static_cast<std::int64_t>(generation.tokens.size());
    finished.prefill_s = finished.ttft_s = generation.prefill_s;
    for (const double s : generation.token_s) finished.decode_s += s;
    finished.cancelled = generation.stop == StopReason::Cancelled;
    finished.stop_reason = generation.stop == StopReason::Length      ? "length"
                           : generation.stop == StopReason::EndOfText ? "end of text"
                                                                      : "cancelled";
    if (const std::string rest = detokenizer.flush(); !rest.empty()) {
      output_.send(WorkerEvent{Token{id, finished.tokens, rest, seconds_since(begin)}});
    }
    finished.plan_json = session_->plan_json();
    output_.send(WorkerEvent{finished});
    return {};
  }

  Expected<void> finish_cancelled(const std::string& id) {
    output_.send(WorkerEvent{Finished{.id = id, .cancelled = true, .stop_reason = "cancelled"}});
    return {};
  }

  Expected<std::string> prompt_text(const Generate& request) const {
    if (request.messages.empty()) return request.prompt;
    if (!session_->chat_template) {
      return fail(ErrorCode::Unsupported, "The model has no chat template.", "Continue a plain text instead, or choose another model.");
    }
    std::vector<ChatMessage> messages;
    for (const Message& message : request.messages) messages.push_back({message.role, message.content});
    const TokenizerConfig& c = session_->tokenizer->config();
    return session_->chat_template->render(messages, {.add_generation_prompt = true, .bos_token = c.bos_token, .eos_token = c.eos_token});
  }

  /// Waits for the machine, then loads what the configuration needs.
  Expected<void> ready(const RunConfiguration& configuration, const std::string& id, const std::string& what,
                       std::stop_token stop) {
    stage_.set("wait");
    KRASIS_CHECK(turns_.wait(what, stop, [&](const std::string& holder) {
      output_.send(WorkerEvent{Loading{id, std::string(kWaitingFor) + holder, 0}});
    }));
    return ensure_loaded(configuration, id, stop);
  }

  Expected<void> ensure_loaded(const RunConfiguration& configuration, const std::string& id, std::stop_token stop) {
    if (session_ && same_engine(session_->configuration, configuration)) {
      return make_plan(session_->engine->model().spec, configuration, host_hardware()).map([](const Plan&) {});
    }
    stage_.set("load");
    // The old session goes first, so that two models never lie in memory at once; its weights stay if they are the same.
    std::shared_ptr<const PackedModel> packed;
    if (session_ && same_weights(session_->configuration, configuration)) packed = session_->engine->shared_model();
    session_.reset();
    auto last = Clock::time_point{};
    std::string last_stage;
    KRASIS_TRY(session_, load_session(configuration, options_.resources, options_.cache_directory,
                                      [&](const LoadProgress& progress) {
                                        const std::lock_guard lock(progress_mutex_);
                                        if (progress.stage == last_stage && progress.done < 1 && seconds_since(last) < 0.1) return;
                                        last = Clock::now();
                                        last_stage = progress.stage;
                                        output_.send(WorkerEvent{Loading{id, progress.stage, progress.done}});
                                      },
                                      stop, std::move(packed)));
    return {};
  }

  Loaded loaded(const std::string& id, const std::string& prompt_fingerprint, const std::vector<std::string>& prompt_notes) const {
    Loaded event{.id = id,
                 .model = session_->model_facts(),
                 .threads = session_->configuration.threads,
                 .plan_json = session_->plan_json(),
                 .prompt_fingerprint = prompt_fingerprint,
                 .notes = session_->engine->model().notes};
    if (event.threads == 0) event.threads = static_cast<std::int64_t>(std::thread::hardware_concurrency());
    event.notes.insert(event.notes.end(), prompt_notes.begin(), prompt_notes.end());
    if (const std::string& why = turns_.lock_unusable_because(); !why.empty()) {
      event.notes.push_back(why + " Another worker may compute at the same time.");
    }
    return event;
  }

  const WorkerOptions& options_;
  Output& output_;
  Inbox& inbox_;
  StageName& stage_;
  ComputeTurns& turns_;
  MachineFacts machine_ = machine_facts();
  Ceilings ceilings_;
  std::string measured_on_;  ///< whose ceilings they are
  Judge judge_;
  std::mutex progress_mutex_;
  std::optional<Session> session_;
};

}  // namespace

int run_worker(const WorkerOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  Output output(options.output);
  Inbox inbox(output);
  StageName stage;
  ComputeTurns turns(options.compute_lock.empty() ? ComputeLock::default_path() : options.compute_lock);
  Worker worker(options, output, inbox, stage, turns);
  worker.hello();

  const std::jthread reader([&](std::stop_token stop) { inbox.read(options.input, stop); });
  const std::jthread heart([&](std::stop_token stop) {
    const auto begin = Clock::now();
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    for (int beat = 1; !wake.wait_for(lock, stop, std::chrono::seconds(1), [&] { return stop.stop_requested(); });
         ++beat) {
      output.send(WorkerEvent{Heartbeat{seconds_since(begin), stage.get()}});
      if (beat % kBeatsPerLook == 0) turns.look();
    }
  });
  while (worker.handle(inbox.next())) {
  }
  return 0;
}

}  // namespace krasis
