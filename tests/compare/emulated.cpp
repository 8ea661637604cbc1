#include "tests/compare/emulated.h"

#include "tests/engine/runtime/test_engine.h"
#include "tests/kernels/operations/support.h"

namespace krasis::compare {

bool with_emulated(const std::string& set, const RunConfiguration& configuration,
                   const std::function<void(Engine&)>& use) {
  const bool amx = set == "emulated amx";
  if (!amx && set != "emulated avx512") return false;
  const HostOperations& operations = test::operations(amx ? test::Set::EmulatedAmx : test::Set::EmulatedAvx512);
  const auto t = test::make_engine(
      {.model = configuration.model, .configuration = configuration, .check_order = false, .operations = &operations});
  if (t.engine) use(*t.engine);
  return true;
}

}  // namespace krasis::compare
