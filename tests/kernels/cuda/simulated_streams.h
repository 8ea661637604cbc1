#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

// Streams, events and graphs of the simulated CUDA runtime (simulated_runtime.cpp).

namespace simulated {

inline std::mutex mutex;  // guards all below
inline std::condition_variable changed;
inline thread_local cudaError_t last_error = cudaSuccess;
inline thread_local int current_device = 0;
inline std::map<const std::byte*, std::size_t> page_locked;  // what copies do not wait for

inline cudaError_t result(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
  return status;
}
inline double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// What one record of an event waits for.
struct Completion {
  bool done = false;
  double time_ms = 0;
};
using Work = std::function<void()>;

}  // namespace simulated

struct CUgraph_st {
  struct Node {
    simulated::Work work;
    std::set<std::size_t> after;
    cudaStream_t stream = nullptr;
  };
  std::vector<Node> nodes;
  std::set<cudaStream_t> streams;
  bool invalid = false;
};

struct CUevent_st {
  int device = 0;
  bool timing = false;
  std::shared_ptr<simulated::Completion> completion;  // of the last record
  CUgraph_st* graph = nullptr;                        // if that was captured:
  std::set<std::size_t> point;
};

struct CUstream_st {
  int device = 0;
  std::deque<simulated::Work> queue;
  bool busy = false, ending = false;
  CUgraph_st* graph = nullptr;  // while it is captured
  std::set<std::size_t> tail;
  std::thread thread;

  CUstream_st() : device(simulated::current_device) {
    thread = std::thread([this] {
      std::unique_lock lock(simulated::mutex);
      while (true) {
        simulated::changed.wait(lock, [&] { return ending || !queue.empty(); });
        if (queue.empty()) return;
        const simulated::Work work = std::move(queue.front());
        queue.pop_front();
        busy = true;
        lock.unlock();
        work();
        lock.lock();
        busy = false;
        simulated::changed.notify_all();
      }
    });
  }
};

struct CUgraphExec_st {
  std::vector<CUgraph_st::Node> nodes;
  std::set<cudaStream_t> streams;
};

namespace simulated {

/// Adds work to a stream, or a node to the graph that captures it. `mutex` is held.
inline void enqueue(cudaStream_t stream, Work work) {
  if (stream->graph) {
    stream->graph->nodes.push_back({std::move(work), stream->tail, stream});
    stream->tail = {stream->graph->nodes.size() - 1};
  } else {
    stream->queue.push_back(std::move(work));
    changed.notify_all();
  }
}
inline void enqueue_locked(cudaStream_t stream, Work work) {
  const std::lock_guard lock(mutex);
  enqueue(stream, std::move(work));
}

inline void complete(const std::shared_ptr<Completion>& completion) {
  const std::lock_guard lock(mutex);
  completion->done = true;
  completion->time_ms = now_ms();
  changed.notify_all();
}
inline void wait_for(const std::shared_ptr<Completion>& completion) {
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return completion->done; });
}

inline void run_graph(const std::vector<CUgraph_st::Node>& nodes, const std::set<cudaStream_t>& streams) {
  std::vector<std::shared_ptr<Completion>> done(nodes.size());
  for (auto& completion : done) completion = std::make_shared<Completion>();
  std::vector<std::thread> branches;
  for (const cudaStream_t stream : streams) {
    branches.emplace_back([&, stream] {
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (nodes[i].stream != stream) continue;
        for (const std::size_t before : nodes[i].after) wait_for(done[before]);
        nodes[i].work();
        complete(done[i]);
      }
    });
  }
  for (std::thread& branch : branches) branch.join();
}

/// Whether all nodes of `points` come before `tail`.
inline bool reaches(const CUgraph_st& graph, const std::set<std::size_t>& tail, const std::set<std::size_t>& points) {
  std::set<std::size_t> seen = tail;
  std::vector<std::size_t> open(tail.begin(), tail.end());
  while (!open.empty()) {
    const std::size_t node = open.back();
    open.pop_back();
    for (const std::size_t before : graph.nodes[node].after) {
      if (seen.insert(before).second) open.push_back(before);
    }
  }
  return std::includes(seen.begin(), seen.end(), points.begin(), points.end());
}

}  // namespace simulated
