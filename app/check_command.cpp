#include <iostream>
#include <memory>

#include <fmt/format.h>

#include "app/cli.h"
#include "engine/system/system_check.h"
#include "kernels/host/operations/operations.h"

namespace krasis::cli {
namespace {

const char* glyph(Severity severity) {
  switch (severity) {
    case Severity::Ok: return "\u2713";
    case Severity::Info: return "i";
    case Severity::Warning: return "!";
    case Severity::Unknown: break;
  }
  return "?";
}

int check(bool json) {
  const std::vector<Finding> findings = check_system({}, simd_level());
  if (json) {
    std::cout << to_json(findings) << "\n";
    return kDone;
  }
  for (const Finding& f : findings) {
    std::cout << fmt::format("{} {:<8} {}\n           {}\n", glyph(f.severity), to_string(f.severity), f.title, f.detail);
    if (!f.remedy.empty()) std::cout << fmt::format("           -> {}\n", f.remedy);
  }
  return kDone;
}

}  // namespace

void add_check(CLI::App& app, Run& run) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("check", "Look at what of this machine's settings costs speed, and say what helps");
  command->add_flag("--json", *json, "An array of objects: id, severity (ok, info, warning, unknown), title, detail, remedy");
  command->callback([&run, json] { run = [json] { return check(*json); }; });
}

}  // namespace krasis::cli
