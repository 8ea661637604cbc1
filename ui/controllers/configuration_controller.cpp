#include "ui/controllers/configuration_controller.h"

#include <QCryptographicHash>
#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <array>

#include "ui/format.h"

namespace krasis::ui {
namespace {

constexpr std::string_view kSynthetic = "synthetic:";

QString key_of(std::string_view name) { return QString::fromUtf8(name.data(), static_cast<qsizetype>(name.size())); }

void add_file(QCryptographicHash& hash, const QString& path) {
  constexpr qint64 kEnd = 64 * 1024;
  QFile file(path);
  if (!file.open(QIODevice::ReadOnly)) return;
  hash.addData(QFileInfo(path).fileName().toUtf8());
  hash.addData(QByteArray::number(file.size()));
  hash.addData(file.read(kEnd));
  if (file.size() > kEnd) {
    file.seek(std::max(kEnd, file.size() - kEnd));
    hash.addData(file.readAll());
  }
}

}  // namespace

QString model_path(const std::string& model, const QString& resources) {
  if (model == "embedded") return resources + QStringLiteral("/models/tiny-moe");
  if (model.starts_with(kSynthetic)) return QString::fromStdString(model.substr(kSynthetic.size()));
  return QString::fromStdString(model);
}

Expected<ModelSpec> resolve_model(const std::string& model, const QString& resources) {
  const QString path = model_path(model, resources);
  if (model.starts_with(kSynthetic)) {
    if (!QFileInfo::exists(path)) {
      return fail(ErrorCode::NotFound, "There is no " + path.toStdString() + ".",
                  "Choose the config.json whose shapes the weights are drawn for.");
    }
    KRASIS_TRY(auto config, load_model_spec(path.toStdString()));
    config.synthetic = true;
    return config;
  }
  if (!QFileInfo::exists(path + QStringLiteral("/config.json"))) {
    return fail(ErrorCode::NotFound, "There is no config.json in " + path.toStdString() + ".",
                "Choose a folder in Hugging Face layout.");
  }
  KRASIS_TRY(auto config, load_model_spec(path.toStdString()));
  if (model == "embedded") config.name = "embedded";
  return config;
}

Expected<results::ModelRecord> model_record(const RunConfiguration& configuration, const QString& resources) {
  KRASIS_TRY(const auto config, resolve_model(configuration.model, resources));
  const QString path = model_path(configuration.model, resources);
  QCryptographicHash hash(QCryptographicHash::Sha256);
  if (config.synthetic) {
    add_file(hash, path);
    hash.addData(QByteArray::number(static_cast<qlonglong>(configuration.synthetic_seed)));
  } else {
    const QDir folder(path);
    const auto files = folder.entryList({QStringLiteral("config.json"), QStringLiteral("*.safetensors")}, QDir::Files, QDir::Name);
    for (const QString& name : files) add_file(hash, folder.filePath(name));
  }
  results::ModelRecord record;
  record.fingerprint = hash.result().toHex().toStdString();
  record.name = config.name;
  record.model_type = config.model_type;
  record.architecture = model_summary(config);
  record.synthetic = config.synthetic;
  return record;
}

ConfigurationController::ConfigurationController(const Services* services, QObject* parent)
    : QObject(parent), services_(services), model_(fail(ErrorCode::NotFound, "")), plan_(fail(ErrorCode::NotFound, "")) {
  update();
}

void ConfigurationController::set_configuration(const RunConfiguration& configuration) {
  configuration_ = configuration;
  refused_.clear();
  update();
  emit changed();
}

void ConfigurationController::set_text(const Parameter& parameter, const QString& text) {
  const QString key = key_of(parameter.name);
  if (const auto set = parameter.set(configuration_, std::string_view(text.toStdString())); !set) {
    refused_[key] = format_error(set.error());
  } else {
    refused_.remove(key);
  }
  update();
  emit changed();
}

bool ConfigurationController::is_refused(std::string_view parameter) const {
  return refused_.contains(key_of(parameter));
}

QString ConfigurationController::first_refusal() const {
  for (const auto& parameter : parameters()) {
    if (is_refused(parameter.name)) return tr("%1: %2").arg(key_of(parameter.label), problem_of(parameter.name));
  }
  return {};
}

QString ConfigurationController::problem_of(std::string_view parameter) const {
  const QString key = key_of(parameter);
  const QString refused = refused_.value(key);
  return refused.isEmpty() ? problems_.value(key) : refused;
}

QString ConfigurationController::why_not_runnable() const {
  for (const auto& parameter : parameters()) {
    if (const QString problem = problem_of(parameter.name); !problem.isEmpty()) {
      return tr("%1: %2").arg(key_of(parameter.label), problem);
    }
  }
  return plan_ ? QString() : format_error(plan_.error());
}

void ConfigurationController::set_devices(const FoundDevices& devices) {
  devices_ = devices;
  update();
  emit changed();
}

std::vector<Problem> ConfigurationController::missing_devices(const RunConfiguration& configuration) const {
  if (!devices_.known || configuration.device != "cuda") return {};
  if (devices_.gpus.empty()) {
    return {{"device", Error{ErrorCode::Unsupported, devices_.why_no_gpu.toStdString(),
                             tr("Choose the device Host, or a worker on a machine with a GPU (File menu).").toStdString()}}};
  }
  const auto count = static_cast<int>(devices_.gpus.size());
  for (const int gpu : gpu_indices(configuration.gpus).value_or(std::vector<int>{})) {
    if (gpu < count) continue;
    return {{"gpus", Error{ErrorCode::NotFound, tr("There is no GPU %1: the machine has %2.").arg(gpu).arg(count).toStdString(),
                           tr("Choose among 0 to %1.").arg(count - 1).toStdString()}}};
  }
  return {};
}

Hardware ConfigurationController::hardware() const {
  Hardware hardware = services_->hardware;
  if (devices_.host_memory_bytes > 0) hardware.host_memory_bytes = static_cast<std::size_t>(devices_.host_memory_bytes);
  return hardware;
}

Expected<Plan> ConfigurationController::plan_of(const RunConfiguration& configuration) {
  if (const auto missing = missing_devices(configuration); !missing.empty()) return tl::unexpected(missing.front().error);
  if (configuration.model == loaded_model_ && model_) return make_plan(*model_, configuration, hardware());
  KRASIS_TRY(const auto model, resolve_model(configuration.model, services_->resources));
  return make_plan(model, configuration, hardware());
}

void ConfigurationController::update() {
  problems_.clear();
  if (configuration_.model != loaded_model_) {
    model_ = resolve_model(configuration_.model, services_->resources);
    loaded_model_ = configuration_.model;
  }
  for (const auto& problem : validate(configuration_)) problems_[key_of(problem.parameter)] = format_error(problem.error);
  for (const auto& problem : missing_devices(configuration_)) problems_[key_of(problem.parameter)] = format_error(problem.error);
  if (!model_) {
    problems_[QStringLiteral("model")] = format_error(model_.error());
    plan_ = tl::unexpected(model_.error());
    return;
  }
  for (const auto& problem : validate(*model_, configuration_, hardware())) {
    const QString key = key_of(problem.parameter);
    if (!problems_.contains(key)) problems_[key] = format_error(problem.error);
  }
  plan_ = make_plan(*model_, configuration_, hardware());
}

}  // namespace krasis::ui
