#include "ui/controllers/device_probe.h"

#include <utility>

namespace krasis::ui {
namespace {

constexpr int kPatienceMs = 60000;

FoundDevices devices_of(const protocol::Ready& ready) {
  FoundDevices found{true, {}, QString::fromStdString(ready.machine.driver), QString::fromStdString(ready.why_no_gpu),
                     ready.host_memory_bytes};
  for (const auto& device : ready.devices) {
    if (device.kind == "cuda") found.gpus.push_back(device);
  }
  if (found.gpus.empty() && found.why_no_gpu.isEmpty()) found.why_no_gpu = DeviceProbe::tr("The worker found no GPU.");
  return found;
}

}  // namespace

DeviceProbe::DeviceProbe(QObject* parent) : QObject(parent) {
  patience_.setSingleShot(true);
  connect(&patience_, &QTimer::timeout, this, [this] { finish({}); });
}

DeviceProbe::~DeviceProbe() {
  if (!process_) return;
  process_->disconnect(this);
  process_->kill();
  process_->waitForFinished(1000);
}

void DeviceProbe::start(const WorkerCommand& command) {
  if (process_) {
    process_->disconnect(this);
    process_->kill();
    process_->deleteLater();
  }
  lines_ = {};
  process_ = new QProcess(this);
  connect(process_, &QProcess::readyReadStandardOutput, this, &DeviceProbe::read);
  connect(process_, &QProcess::finished, this, [this] { finish({}); });
  connect(process_, &QProcess::errorOccurred, this, [this](QProcess::ProcessError error) {
    if (error == QProcess::FailedToStart) finish({});
  });
  patience_.start(kPatienceMs);
  process_->start(command.program, command.arguments);
}

void DeviceProbe::read() {
  const QByteArray bytes = process_->readAllStandardOutput();
  for (const auto& line : lines_.append({bytes.constData(), static_cast<std::size_t>(bytes.size())})) {
    const auto event = line.and_then([](const std::string& text) { return protocol::decode_event(text); });
    const auto* ready = event ? std::get_if<protocol::Ready>(&*event) : nullptr;
    if (ready) return finish(devices_of(*ready));
  }
}

void DeviceProbe::finish(const FoundDevices& devices) {
  patience_.stop();
  if (QProcess* process = std::exchange(process_, nullptr)) {
    process->disconnect(this);
    // It ends by itself; one that does not is killed with its object.
    connect(process, &QProcess::finished, process, &QObject::deleteLater);
    if (process->state() == QProcess::NotRunning) process->deleteLater();
    process->write(QByteArray::fromStdString(protocol::encode(protocol::Request{protocol::Shutdown{}})) + '\n');
    process->closeWriteChannel();
  }
  emit found(devices);
}

}  // namespace krasis::ui
