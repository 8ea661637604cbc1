#pragma once

#include <QObject>
#include <QProcess>
#include <QTimer>
#include <vector>

#include "engine/protocol/protocol.h"
#include "ui/controllers/worker_controller.h"

namespace krasis::ui {

/// The devices that a worker can use, and the memory, on its machine.
struct FoundDevices {
  bool known = false;                        ///< a worker has said so
  std::vector<protocol::DeviceFacts> gpus;
  QString driver;
  QString why_no_gpu;                        ///< a sentence; empty if there is one
  qint64 host_memory_bytes = 0;              ///< that a run may take; 0: the worker does not say
};

/// Asks a worker of its own for the devices: it starts, says what there is, and ends. No model is loaded, and no GPU's
/// memory stays taken.
class DeviceProbe : public QObject {
  Q_OBJECT

 public:
  explicit DeviceProbe(QObject* parent = nullptr);
  ~DeviceProbe() override;
  /// Ends in one found(); an earlier question is dropped. Behind ssh or a scheduler it may take a minute.
  void start(const WorkerCommand& command);

 signals:
  /// Not known if the worker could not be started or said nothing: it then says so itself when it is needed.
  void found(const krasis::ui::FoundDevices& devices);

 private:
  void read();
  void finish(const FoundDevices& devices);

  QProcess* process_ = nullptr;
  protocol::LineSplitter lines_;
  QTimer patience_;
};

}  // namespace krasis::ui
