// Draws every page with invented data, light and dark, in two sizes, for people to look at: ui_screenshots FOLDER.
#include <QApplication>
#include <QDir>
#include <QLocale>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QScrollArea>
#include <QStyleFactory>
#include <QTabWidget>
#include <QTableView>
#include <QTemporaryDir>
#include <QThread>

#include "tests/ui/invented_runs.h"
#include "ui/controllers/chat_controller.h"
#include "ui/controllers/configuration_controller.h"
#include "ui/controllers/database_service.h"
#include "ui/controllers/queue_controller.h"
#include "ui/main_window.h"
#include "ui/models/queue_model.h"
#include "ui/models/sweep_models.h"
#include "ui/pages/compare_page.h"
#include "ui/pages/home_page.h"
#include "ui/widgets/message_widget.h"

namespace {

using namespace krasis;

QPalette dark() {
  QPalette p;
  const QColor window(45, 45, 48), base(30, 30, 32), text(225, 225, 225);
  p.setColor(QPalette::Window, window);
  p.setColor(QPalette::WindowText, text);
  p.setColor(QPalette::Base, base);
  p.setColor(QPalette::AlternateBase, QColor(38, 38, 41));
  p.setColor(QPalette::Text, text);
  p.setColor(QPalette::Button, QColor(60, 60, 64));
  p.setColor(QPalette::ButtonText, text);
  p.setColor(QPalette::ToolTipBase, window);
  p.setColor(QPalette::ToolTipText, text);
  p.setColor(QPalette::PlaceholderText, QColor(150, 150, 150));
  p.setColor(QPalette::Highlight, QColor(38, 110, 170));
  p.setColor(QPalette::HighlightedText, Qt::white);
  p.setColor(QPalette::Mid, QColor(100, 100, 100));
  for (const auto role : {QPalette::Text, QPalette::WindowText, QPalette::ButtonText}) {
    p.setColor(QPalette::Disabled, role, QColor(130, 130, 130));
  }
  return p;
}

void settle() {
  for (int i = 0; i < 30; ++i) {
    QApplication::processEvents();
    QThread::msleep(10);
  }
}

const ui::FoundDevices gpus{true,
                            {{"cuda", "NVIDIA GeForce RTX 4090", 0, std::int64_t{24} << 30},
                             {"cuda", "NVIDIA GeForce RTX 4090", 1, std::int64_t{24} << 30}},
                            "550.54.15",
                            {}};

/// As engine/bench/telemetry.h writes it.
constexpr const char* kTelemetry = R"({"prefill":{"path":"stream","seconds":0.31,
 "devices":[{"device":0,"copied_bytes":8100000000,"copy_s":0.3,"compute_s":0.26,"both_s":0.25,"overlap":0.96,"idle_s":0.001,
             "copy_gb_per_s":27,"share_of_link":0.98}],
 "streams":[{"device":0,"name":"compute","busy_s":0.26,"idle_s":0.05,"copy_s":0.0001,"copied_bytes":4096,"copy_gb_per_s":0.04},
            {"device":0,"name":"loader","busy_s":0.3,"idle_s":0.01,"copy_s":0.3,"copied_bytes":8100000000,"copy_gb_per_s":27,
             "share_of_link":0.98}]},
 "decode":{"copied_bytes_per_token":1180000,"s_per_token":0.0169,"cpu_experts_s_per_token":0.0121,"device_wait_is_exact":true,
           "predicted_s_per_token":0.0108,
           "parts":{"device_s":0.0043,"cpu_layer_s":[5e-7,4.1e-5,6.8e-5,9.4e-5,1.2e-4,1.47e-4,1.73e-4,2e-4,2.26e-4],
                    "device_layer_s":[0,0,0,0,0,0,0,0,0],"predicted_s_per_token":0.0157}},
 "gpus":[{"pci_bus_id":"0000:3b:00.0","samples":31,"power_w":{"min":92,"mean":341,"max":450},
          "sm_clock_mhz":{"min":2100,"mean":2480,"max":2745},"memory_clock_mhz":{"min":10501,"mean":10501,"max":10501},
          "temperature_c":{"min":48,"mean":61,"max":67},"pcie_generation":{"min":4,"mean":4,"max":4},"pcie_generation_max":4,
          "pcie_width":{"min":16,"mean":16,"max":16},"pcie_width_max":16,"throttled":{"power cap":0.39}}],
 "trace_file":"/home/user/.local/share/krasis/traces/1a2b3c4d.trace.json"})";

void fill(results::Database& database) {
  for (const int bits : {4, 8}) {
    for (const auto hcs : {HotCache::Off, HotCache::On}) {
      for (const int lgs : {1, 2, 4}) {
        RunConfiguration c;
        c.gpu_format = bits == 4 ? "int4" : "int8";
        c.hcs = hcs;
        c.lgs = lgs;
        const double p = 800 + 90 * lgs - 30 * bits, d = hcs == HotCache::Off ? 57 + lgs : 43 + lgs - bits;
        const bool bad = bits == 8 && hcs == HotCache::On && lgs == 4;
        test::store(database, c, {p, p * 1.04, p * 0.97}, {d, d * 1.05, d * 0.98},
                    bad ? results::Verdict::Fail : results::Verdict::Pass, bits == 4 && lgs == 2 ? kTelemetry : "{}");
      }
    }
  }
}

/// Queued runs of an earlier session.
void leave_runs(const QString& path) {
  auto database = results::Database::open(path.toStdString()).value();
  results::NewRun run;
  run.model = {"fp", "embedded", "qwen3_moe", "5 layers", false};
  for (int i = 0; i < 3; ++i) test::must(database.enqueue(run).map([](auto) {}));
}

}  // namespace

int main(int argc, char** argv) {
  QApplication application(argc, argv);
  if (argc < 2) return 2;
  QLocale::setDefault(QLocale(QLocale::English, QLocale::UnitedStates));
  QApplication::setStyle(QStyleFactory::create("Fusion"));
  const QPalette light = QApplication::palette();
  const QDir out(argv[1]);
  for (const bool is_dark : {false, true}) {
    QApplication::setPalette(is_dark ? dark() : light);
    for (const QSize size : {QSize(1280, 800), QSize(1920, 1080)}) {
      QTemporaryDir folder;
      ui::Services services = ui::default_services(QApplication::applicationDirPath());
      services.resources = KRASIS_SOURCE_DIR "/resources";
      services.database = folder.filePath("results.db");
      services.settings_file = folder.filePath("settings.ini");
      services.probe_devices = false;
      leave_runs(services.database);
      ui::MainWindow window(services);
      window.resize(size);
      window.show();
      fill(window.database()->database());
      window.database()->announce_change();
      window.sweep()->axes()->set_axis("lgs", "1,2,4,9");
      window.sweep()->axes()->set_axis("hcs", "off,on");
      for (auto* page : window.findChildren<ui::HomePage*>()) page->set_devices(gpus);
      settle();
      window.grab().save(out.filePath(QString("notice-%1-%2.png").arg(is_dark ? "dark" : "light").arg(size.width())));
      window.queue()->discard();
      settle();  // before the rows: a look into the database would take out those that it does not have
      window.queue_model()->put({101, "embedded, INT4/INT4 LGS 1 HCS off", results::RunStatus::Done, 1, "\u2713 PASS"});
      window.queue_model()->put({102, "embedded, INT4/INT4 LGS 2 HCS off", results::RunStatus::Crashed, 0.4, "", -1,
                                 "The worker died of signal 11.\nStage: repetition\nSignal: 11"});
      window.queue_model()->put({103, "embedded, INT4/INT4 LGS 4 HCS off", results::RunStatus::Running, 0.55,
                                 "repetition: 2 of 3", 14});
      window.queue_model()->put({104, "embedded, INT4/INT4 LGS 1 HCS on"});
      window.findChild<QTableView*>("resultsTable")->selectRow(1);
      window.findChild<QTableView*>("queueTable")->selectRow(1);
      window.findChild<ui::ComparePage*>()->compare({1, 2, 4, 7, 12});
      const auto grab = [&](const QString& name) {
        settle();
        window.grab().save(out.filePath(QString("%1-%2-%3.png").arg(name, is_dark ? "dark" : "light").arg(size.width())));
      };
      const char* names[] = {"home", "chat", "sweep", "results", "compare"};
      for (int page = 0; page < ui::MainWindow::PageCount; ++page) {
        window.show_page(static_cast<ui::MainWindow::Page>(page));
        grab(names[page]);
      }
      window.show_page(ui::MainWindow::Results);
      auto* details = window.findChild<QTabWidget*>("resultsDetails");
      for (int tab = 0; tab < details->count(); ++tab) {
        if (details->tabText(tab) == "Telemetry") details->setCurrentIndex(tab);
      }
      grab("telemetry");
      // A file has replaced the configuration, and a text is refused.
      window.show_page(ui::MainWindow::Sweep);
      window.findChild<QPushButton*>("firstSweep")->click();
      grab("sweep-file");
      window.configuration()->set_text(*find_parameter("lgs"), "12x");
      grab("refused");
      // CUDA chosen where there is no GPU, then where there are two.
      window.show_page(ui::MainWindow::Sweep);
      RunConfiguration cuda;
      cuda.device = "cuda";
      window.configuration()->set_devices({true, {}, {}, "No NVIDIA driver was found, so no GPU can be used."});
      window.configuration()->set_configuration(cuda);
      window.findChild<QScrollArea*>("configurationScroll")->ensureWidgetVisible(window.findChild<QWidget*>("parameter_hcs"));
      grab("no-gpu");
      cuda.gpus = "1";
      window.configuration()->set_devices(gpus);
      window.configuration()->set_configuration(cuda);
      window.findChild<QScrollArea*>("configurationScroll")->ensureWidgetVisible(window.findChild<QWidget*>("parameter_hcs"));
      grab("gpus");
    }
  }
  return 0;
}
