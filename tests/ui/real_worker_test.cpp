// The whole path with the real worker: embedded model, sweep, rows, Markdown, one chat.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <QAction>
#include <QClipboard>
#include <QGuiApplication>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QTest>

#include "tests/support/temporary_directory.h"
#include "ui/controllers/chat_controller.h"
#include "ui/controllers/configuration_controller.h"
#include "ui/controllers/database_service.h"
#include "ui/controllers/queue_controller.h"
#include "ui/controllers/sweep_controller.h"
#include "ui/main_window.h"

namespace krasis::ui {
namespace {

using testing::HasSubstr;

TEST(RealWorker, ASweepOfTheEmbeddedModelThenMarkdownThenAChat) {
  const test::TemporaryDirectory directory;
  const auto in_folder = [&](const char* name) { return QString::fromStdString((directory.path() / name).string()); };
  Services services;
  services.hardware.devices = 16;
  services.hardware.host_memory_bytes = std::size_t{4} << 30;
  services.resources = KRASIS_SOURCE_DIR "/resources";
  services.worker_command = QStringLiteral("\"%1\" worker").arg(KRASIS_WORKER);
  services.database = in_folder("results.db");
  services.settings_file = in_folder("settings.ini");
  MainWindow window(services);
  window.show();
  RunConfiguration configuration;
  configuration.prompt_tokens = 64;
  configuration.decode_tokens = 8;
  configuration.repetitions = 2;
  configuration.max_context = 512;
  window.configuration()->set_configuration(configuration);
  window.show_page(MainWindow::Sweep);
  window.sweep()->axes()->set_axis("lgs", "1,2");
  window.sweep()->axes()->set_axis("hcs", "off,on");
  QTest::qWait(50);
  auto* enqueue = window.findChild<QPushButton*>("enqueue");
  ASSERT_TRUE(enqueue->isEnabled()) << window.sweep()->why_not_runnable().toStdString();
  QTest::mouseClick(enqueue, Qt::LeftButton);
  ASSERT_TRUE(QTest::qWaitFor([&] { return window.queue()->total() == 4 && window.queue()->done() == 4; }, 240000));
  const auto runs = window.database()->database().summaries().value();
  ASSERT_EQ(runs.size(), 4U);
  for (const auto& run : runs) {
    EXPECT_EQ(run.run.status, results::RunStatus::Done) << run.run.failure.cause;
    EXPECT_EQ(run.run.verdict.verdict, results::Verdict::Pass);
    EXPECT_EQ(run.decode_tokens_per_second.statistics.n, 2U);
    EXPECT_GT(run.decode_tokens_per_second.statistics.mean, 0);
    ASSERT_NE(run.run.environment, nullptr);
  }
  window.show_page(MainWindow::Results);
  QTest::qWait(200);
  QTest::mouseClick(window.findChild<QPushButton*>("copyMarkdown"), Qt::LeftButton);
  EXPECT_THAT(QGuiApplication::clipboard()->text().toStdString(),
              HasSubstr("| GPU/CPU format | LGS | HCS | Prefill (tok/s) |"));

  window.show_page(MainWindow::Chat);
  window.findChild<QPlainTextEdit*>("composer")->setPlainText("Tell me a story about a dog.");
  QTest::mouseClick(window.findChild<QPushButton*>("send"), Qt::LeftButton);
  ASSERT_TRUE(QTest::qWaitFor([&] { return window.chat()->messages().size() == 2 && !window.chat()->is_answering(); }, 120000));
  const auto& answer = window.chat()->messages()[1];
  EXPECT_EQ(answer.error.toStdString(), "");
  EXPECT_GT(answer.turn.text.size(), 20);
  EXPECT_GT(answer.figures.decode_tokens_per_second, 0);
}

}  // namespace
}  // namespace krasis::ui
