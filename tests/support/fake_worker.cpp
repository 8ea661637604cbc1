// A worker without an engine, for tests of its clients: it follows a script (fake_worker_scripts.h), well or badly.
//
//   krasis-fake-worker [--script NAME | --script-file FILE] [--delay-ms N] [worker]
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iostream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "engine/protocol/protocol.h"
#include "tests/support/fake_worker_scripts.h"

namespace {

namespace p = krasis::protocol;
using Script = std::map<std::string, std::vector<std::string>>;  // section -> actions

Script parse(std::string_view text) {
  Script script;
  std::string section;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('@')) {
      section = line.substr(1);
      script[section];
    } else if (!line.empty()) {
      script[section].push_back(line);
    }
  }
  return script;
}

class FakeWorker {
 public:
  FakeWorker(Script script, int delay_ms) : script_(std::move(script)), delay_ms_(delay_ms) {
    for (const auto& [section, actions] : parse(kFakeWorkerScripts[0].second)) {
      if (!script_.contains(section)) script_[section] = actions;
    }
  }

  int run() {
    std::thread([this] { beat(); }).detach();
    follow("start");
    std::thread([this] { read(); }).detach();
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !requests_.empty(); });
      const p::Request request = std::move(requests_.front());
      requests_.pop_front();
      cancelled_ = false;
      lock.unlock();
      if (std::holds_alternative<p::Shutdown>(request)) return 0;
      serve(request);
    }
  }

 private:
  void serve(const p::Request& request) {
    if (std::holds_alternative<p::Hello>(request)) return act("ready");
    if (const auto* load = std::get_if<p::Load>(&request)) {
      id_ = load->id, configuration_ = load->configuration;
      follow("load");
    } else if (const auto* benchmark = std::get_if<p::Benchmark>(&request)) {
      id_ = benchmark->id, configuration_ = benchmark->configuration, trace_file_ = benchmark->trace_file;
      follow("benchmark");
    } else if (const auto* generate = std::get_if<p::Generate>(&request)) {
      id_ = generate->id, configuration_ = generate->configuration;
      follow("generate");
    }
    id_.clear();
  }

  void follow(const std::string& section) {
    tokens_ = 0;
    ended_ = false;
    for (const std::string& action : script_[section]) {
      act(action);
      if (ended_) continue;  // a request ends once: what comes to cancel it now comes too late
      if (cancelled_ && section != "start") {
        p::Finished finished;
        finished.id = id_;
        finished.cancelled = true;
        finished.stop_reason = "cancelled";
        send(finished);
        return;
      }
    }
  }

  void act(const std::string& action) {
    std::istringstream words(action);
    std::string verb, first, second, rest;
    words >> verb;
    const std::string argument = action.size() > verb.size() ? action.substr(verb.size() + 1) : "";
    std::istringstream(argument) >> first >> second;
    if (verb == "ready") {
      send(p::Ready{"0.0-fake", {{"host", "Fake CPU", 0, std::int64_t{1} << 34}}, machine("{}"), "The fake has no driver."});
    } else if (verb == "ready-gpus") {
      p::Ready ready{"0.0-fake", {{"host", "Fake CPU", 0, std::int64_t{1} << 34}}, machine("{}")};
      for (int gpu = 0; gpu < 2; ++gpu) ready.devices.push_back({"cuda", "Fake GPU", gpu, std::int64_t{24} << 30});
      ready.machine.driver = "550.1";
      send(ready);
    } else if (verb == "throttled") {
      throttled_ = true;
    } else if (verb == "environment") {
      send(p::Environment{machine(R"({"memory_read_gb_per_s":10})")});
    } else if (verb == "loading") {
      stage_ = "load";
      send(p::Loading{id_, first, std::stod(second)});
    } else if (verb == "loaded") {
      send(p::Loaded{id_, {"fa4e", "Fake-Model", "qwen3_moe", "2 layers, hidden 8", false}, 2, "{}", "9a0b", {}});
    } else if (verb == "warmups") {
      samples(true, configuration_.warmups);
    } else if (verb == "repetitions") {
      samples(false, first.empty() ? configuration_.repetitions : std::stoi(first));
    } else if (verb == "verdict-stage") {
      send(p::Stage{id_, stage_ = "verdict", 0, 1});
    } else if (verb == "stage") {
      send(p::Stage{id_, stage_ = first, 0, 1});
    } else if (verb == "tokens") {
      tokens(argument);
    } else if (verb == "finish") {
      finish(first);
    } else if (verb == "error") {
      std::string text = argument.substr(std::min(argument.size(), first.size() + second.size() + 2));
      ended_ = true;
      send(p::Failed{id_, first, text, "Lower LGS or raise the budget.", second});
    } else if (verb == "log") {
      send(p::Log{first, stage_, argument.substr(std::min(argument.size(), first.size() + 1))});
    } else if (verb == "stderr") {
      std::cerr << argument << std::endl;
    } else if (verb == "raw") {
      write(argument + "\n");
    } else if (verb == "partial") {
      write(argument);
    } else if (verb == "huge") {
      write(std::string(std::stoul(first), 'x') + "\n");
    } else if (verb == "heartbeats") {
      heartbeats_ = false;
    } else if (verb == "sleep") {
      pause(std::stoi(first));
    } else if (verb == "forever") {
      while (!cancelled_) pause(1000);
    } else if (verb == "deaf") {
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    } else if (verb == "signal") {
      pause(20);  // what was written before should be out
      std::signal(std::stoi(first), SIG_DFL);
      std::raise(std::stoi(first));
    } else if (verb == "exit") {
      pause(20);
      std::_Exit(std::stoi(first));
    } else {
      std::cerr << "krasis-fake-worker: no action \"" << verb << "\"" << std::endl;
      std::_Exit(2);
    }
  }

  static p::MachineFacts machine(const char* ceilings) {
    return {"Fake machine", "Fake CPU", std::int64_t{1} << 34, "", "", "Linux fake", "fa4e", "{}", ceilings};
  }

  /// Speeds follow the configuration, so that charts have something to show: more LGS is faster, HCS helps decode.
  void samples(bool warm_up, int count) {
    for (int index = 0; index < count && !cancelled_; ++index) {
      send(p::Stage{id_, stage_ = warm_up ? "warm-up" : "repetition", index, count});
      pause(delay_ms_);
      if (cancelled_) return;
      p::Sample sample;
      sample.id = id_;
      sample.warm_up = warm_up;
      sample.index = index;
      sample.prefill_tokens = configuration_.prompt_tokens;
      sample.prefill_s = configuration_.prompt_tokens / (1000.0 + 100.0 * configuration_.lgs + 5.0 * index);
      sample.ttft_s = sample.prefill_s * 1.01;
      sample.decode_tokens = configuration_.decode_tokens;
      const double token_s = (configuration_.hcs == krasis::HotCache::Off ? 0.02 : 0.015) + 0.0001 * index;
      sample.decode_token_s.assign(static_cast<std::size_t>(configuration_.decode_tokens), token_s);
      sample.decode_s = token_s * configuration_.decode_tokens;
      sample.output_text = "Once upon a time";
      send(sample);
    }
  }

  void tokens(const std::string& text) {
    std::istringstream words(text);
    stage_ = "generate";
    for (std::string word; words >> word && !cancelled_;) {
      send(p::Token{id_, tokens_, tokens_ == 0 ? word : " " + word, 0.1 + 0.02 * static_cast<double>(tokens_)});
      ++tokens_;
      pause(delay_ms_);
    }
  }

  void finish(const std::string& verdict) {
    p::Finished finished;
    finished.id = id_;
    finished.prompt_tokens = tokens_ > 0 ? 12 : configuration_.prompt_tokens;
    finished.tokens = tokens_ > 0 ? tokens_ : configuration_.decode_tokens + 1;
    finished.prefill_s = 0.1;
    finished.ttft_s = 0.1;
    finished.decode_s = 0.02 * static_cast<double>(finished.tokens - 1);
    finished.stop_reason = tokens_ > 0 ? "end of text" : "length";
    finished.verdict.verdict = verdict;
    if (verdict != "none") {
      finished.verdict.figure = "worst regret against the reference, nats";
      finished.verdict.value = verdict == "pass" ? 0.01 : 9.5;
      finished.verdict.threshold = 0.15;
    }
    if (tokens_ == 0) finished.telemetry_json = telemetry();
    stage_.clear();
    ended_ = true;
    send(finished);
  }

  /// What a run with one device could have seen, as bench/telemetry.h writes it.
  std::string telemetry() const {
    std::string json =
        R"({"prefill":{"path":"stream","seconds":0.29,"devices":[{"device":0,"copied_bytes":5000000000,"copy_s":0.2,)"
        R"("compute_s":0.24,"both_s":0.15,"overlap":0.75,"idle_s":0,"copy_gb_per_s":25,"share_of_link":0.5}],)"
        R"("streams":[{"device":0,"name":"compute","busy_s":0.24,"idle_s":0.05,"copy_s":0,"copied_bytes":0}]},)"
        R"("decode":{"copied_bytes_per_token":1200000,"s_per_token":0.02,"cpu_experts_s_per_token":0.015,)"
        R"("device_wait_is_exact":true})";
    if (throttled_) {
      json += R"(,"gpus":[{"pci_bus_id":"0000:3b:00.0","samples":5,"power_w":{"min":100,"mean":400,"max":700},)"
              R"("sm_clock_mhz":{"min":1200,"mean":1500,"max":1980},"temperature_c":{"min":41,"mean":55,"max":61},)"
              R"("pcie_generation":{"min":5,"mean":5,"max":5},"pcie_generation_max":5,"throttled":{"power cap":0.4}}])";
    }
    if (!trace_file_.empty()) json += ",\"trace_file\":\"" + trace_file_ + "\"";
    return json + "}";
  }

  void send(const p::Event& event) { write(p::encode(event) + "\n"); }

  void write(const std::string& text) {
    const std::lock_guard lock(output_);
    for (std::size_t at = 0; at < text.size();) {
      const ssize_t written = ::write(STDOUT_FILENO, text.data() + at, text.size() - at);
      if (written <= 0) std::_Exit(1);  // nobody listens any more
      at += static_cast<std::size_t>(written);
    }
  }

  void pause(int milliseconds) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(milliseconds), [&] { return cancelled_.load(); });
  }

  void beat() {
    for (double uptime = 0;; uptime += 0.2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      if (heartbeats_) send(p::Heartbeat{uptime, ""});
    }
  }

  void read() {
    for (std::string line; std::getline(std::cin, line);) {
      const auto request = p::decode_request(line);
      if (!request) {
        send(p::failed(request.error(), "", "start"));
        continue;
      }
      const std::lock_guard lock(mutex_);
      if (std::holds_alternative<p::Cancel>(*request)) {
        cancelled_ = true;
      } else {
        if (std::holds_alternative<p::Shutdown>(*request)) cancelled_ = true;
        requests_.push_back(*request);
      }
      changed_.notify_all();
    }
    std::_Exit(0);  // the client is gone
  }

  Script script_;
  int delay_ms_;
  std::mutex mutex_, output_;
  std::condition_variable changed_;
  std::deque<p::Request> requests_;
  std::atomic<bool> cancelled_ = false, heartbeats_ = true;
  std::string id_, stage_, trace_file_;
  bool throttled_ = false;
  bool ended_ = false;  ///< Finished or Failed was sent for the request in hand
  std::int64_t tokens_ = 0;
  krasis::RunConfiguration configuration_;
};

}  // namespace

int main(int argc, char** argv) {
  std::string_view text = kFakeWorkerScripts[0].second;
  std::string file_text;
  int delay_ms = 5;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (argument == "--script") {
      ++i;
      bool found = false;
      for (const auto& [name, script] : kFakeWorkerScripts) {
        if (name == value) text = script, found = true;
      }
      if (!found) return std::cerr << "krasis-fake-worker: no script " << value << "\n", 2;
    } else if (argument == "--script-file") {
      ++i;
      std::ifstream file(value);
      std::ostringstream content;
      content << file.rdbuf();
      if (!file) return std::cerr << "krasis-fake-worker: cannot read " << value << "\n", 2;
      file_text = content.str();
      text = file_text;
    } else if (argument == "--delay-ms") {
      ++i;
      delay_ms = std::atoi(value);
    }
  }
  const int code = FakeWorker(parse(text), delay_ms).run();
  std::cout.flush();
  std::_Exit(code);  // detached threads still use the object
}
