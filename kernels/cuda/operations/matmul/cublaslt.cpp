#include "kernels/cuda/operations/matmul/cublaslt.h"

#include <mutex>

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#include <dlfcn.h>

#include <map>
#include <string>
#include <tuple>

namespace krasis::cuda {
namespace {

/// The functions of cuBLASLt that are used here, with the types of its header.
struct Library {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulDescCreate) operation_create = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) operation_set = nullptr;
  decltype(&cublasLtMatmulDescDestroy) operation_destroy = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
};

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

/// Loaded once for the process and never unloaded: cuBLASLt keeps state in the driver.
Expected<const Library*> library() {
  static const Expected<const Library*> loaded = []() -> Expected<const Library*> {
    // The header's version first: types and functions are as declared there. The ABI of these functions is the same
    // in 12.
    const std::string names[] = {"libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR), "libcublasLt.so.12"};
    std::string tried;
    for (const std::string& name : names) {
      void* handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (!handle) {
        tried += (tried.empty() ? "" : "; ") + std::string(dlerror());
        continue;
      }
      static Library l;
      if (find(handle, "cublasLtCreate", l.create) && find(handle, "cublasLtDestroy", l.destroy) &&
          find(handle, "cublasLtMatmul", l.matmul) && find(handle, "cublasLtMatmulDescCreate", l.operation_create) &&
          find(handle, "cublasLtMatmulDescSetAttribute", l.operation_set) &&
          find(handle, "cublasLtMatmulDescDestroy", l.operation_destroy) &&
          find(handle, "cublasLtMatrixLayoutCreate", l.layout_create) &&
          find(handle, "cublasLtMatrixLayoutDestroy", l.layout_destroy) &&
          find(handle, "cublasLtMatmulPreferenceCreate", l.preference_create) &&
          find(handle, "cublasLtMatmulPreferenceSetAttribute", l.preference_set) &&
          find(handle, "cublasLtMatmulPreferenceDestroy", l.preference_destroy) &&
          find(handle, "cublasLtMatmulAlgoGetHeuristic", l.heuristic)) {
        return &l;
      }
      tried += (tried.empty() ? "" : "; ") + name + " lacks a function";
      dlclose(handle);
    }
    return fail(ErrorCode::Unsupported, "cuBLASLt could not be loaded: " + tried + ".",
                "Install it (libcublas of the CUDA Toolkit) or go on with the program's own kernels.");
  }();
  return loaded;
}

/// What a product is described by; chosen kernels are kept by it.
using Shape = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, bool, bool>;

class CublasProducts : public DenseProducts {
 public:
  CublasProducts(const Library& l, cublasLtHandle_t handle, View<std::byte> workspace)
      : l_(l), handle_(handle), workspace_(workspace) {}
  ~CublasProducts() override {
    for (auto& [shape, plan] : plans_) release(plan);
    l_.destroy(handle_);
  }

  bool multiply(cudaStream_t stream, const MatmulArgs& args) override {
    if (args.weight.layout.format.element != Element::Bf16) return false;
    const std::lock_guard lock(mutex_);
    const Plan& plan = plan_of(args);
    if (!plan.usable) return false;
    const bool accumulates = args.accumulate.data != nullptr;
    void* out = args.out_bf16.data  ? static_cast<void*>(args.out_bf16.data)
                : args.out_f32.data ? static_cast<void*>(args.out_f32.data)
                                    : static_cast<void*>(args.accumulate.data);
    const float one = 1.0f;
    const float kept = accumulates ? 1.0f : 0.0f;
    return l_.matmul(handle_, plan.operation, &one, args.weight.data, plan.weight, args.x.data, plan.x, &kept, out,
                     plan.out, out, plan.out, &plan.algorithm, workspace_.data, workspace_.size,
                     stream) == CUBLAS_STATUS_SUCCESS;
  }

 private:
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t weight = nullptr, x = nullptr, out = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
    bool usable = false;
  };

  const Plan& plan_of(const MatmulArgs& args) {
    const MatrixLayout& w = args.weight.layout;
    const bool bf16_out = args.out_bf16.data != nullptr;
    const bool accumulates = args.accumulate.data != nullptr;
    auto [at, is_new] =
        plans_.try_emplace(Shape{w.rows, w.columns, w.padded_columns(), args.tokens, bf16_out, accumulates});
    if (is_new) at->second.usable = make(at->second, w, args.tokens, bf16_out);
    return at->second;
  }

  /// Row-major [n, k] is column-major k x n, so out^T (rows x tokens) = weight^T^T * x^T.
  bool make(Plan& plan, const MatrixLayout& w, std::int64_t tokens, bool bf16_out) {
    const auto rows = static_cast<std::uint64_t>(w.rows), columns = static_cast<std::uint64_t>(w.columns);
    const auto count = static_cast<std::uint64_t>(tokens);
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const std::size_t workspace_bytes = workspace_.size;
    if (l_.operation_create(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F) != CUBLAS_STATUS_SUCCESS ||
        l_.operation_set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)) !=
            CUBLAS_STATUS_SUCCESS ||
        l_.layout_create(&plan.weight, CUDA_R_16BF, columns, rows, w.padded_columns()) != CUBLAS_STATUS_SUCCESS ||
        l_.layout_create(&plan.x, CUDA_R_16BF, columns, count, w.columns) != CUBLAS_STATUS_SUCCESS ||
        l_.layout_create(&plan.out, bf16_out ? CUDA_R_16BF : CUDA_R_32F, rows, count, w.rows) !=
            CUBLAS_STATUS_SUCCESS) {
      return false;
    }
    cublasLtMatmulPreference_t preference = nullptr;
    if (l_.preference_create(&preference) != CUBLAS_STATUS_SUCCESS) return false;
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    const bool ok = l_.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes,
                                      sizeof(workspace_bytes)) == CUBLAS_STATUS_SUCCESS &&
                    l_.heuristic(handle_, plan.operation, plan.weight, plan.x, plan.out, plan.out, preference, 1,
                                 &result, &found) == CUBLAS_STATUS_SUCCESS;
    l_.preference_destroy(preference);
    plan.algorithm = result.algo;
    return ok && found > 0 && result.state == CUBLAS_STATUS_SUCCESS;
  }

  void release(Plan& plan) {
    if (plan.out) l_.layout_destroy(plan.out);
    if (plan.x) l_.layout_destroy(plan.x);
    if (plan.weight) l_.layout_destroy(plan.weight);
    if (plan.operation) l_.operation_destroy(plan.operation);
  }

  const Library& l_;
  cublasLtHandle_t handle_;
  View<std::byte> workspace_;
  std::mutex mutex_;
  std::map<Shape, Plan> plans_;
};

}  // namespace

Expected<std::unique_ptr<DenseProducts>> DenseProducts::load(View<std::byte> workspace) {
  KRASIS_TRY(const Library* l, library());
  cublasLtHandle_t handle = nullptr;
  if (const auto status = l->create(&handle); status != CUBLAS_STATUS_SUCCESS) {
    return fail(ErrorCode::Unsupported, "cuBLASLt refused to start (status " + std::to_string(status) + ").",
                "Go on with the program's own kernels, or update the NVIDIA driver.");
  }
  return std::make_unique<CublasProducts>(*l, handle, workspace);
}

}  // namespace krasis::cuda

#else

namespace krasis::cuda {

Expected<std::unique_ptr<DenseProducts>> DenseProducts::load(View<std::byte>) {
  return fail(ErrorCode::Unsupported, "This program was built without cuBLASLt's header.",
              "Build it with the whole CUDA Toolkit, or go on with its own kernels.");
}

}  // namespace krasis::cuda

#endif

namespace krasis::cuda {
namespace {

class LazyProducts : public DenseProducts {
 public:
  bool multiply(cudaStream_t stream, const MatmulArgs& args) override {
    if (args.weight.layout.format.element != Element::Bf16) return false;
    std::call_once(once_, [this] {
      if (auto loaded = load({})) products_ = std::move(*loaded);
    });
    return products_ && products_->multiply(stream, args);
  }

 private:
  std::once_flag once_;
  std::unique_ptr<DenseProducts> products_;
};

}  // namespace

std::shared_ptr<DenseProducts> open_dense_products() { return std::make_shared<LazyProducts>(); }

}  // namespace krasis::cuda
