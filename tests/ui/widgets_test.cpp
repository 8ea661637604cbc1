#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <QComboBox>
#include <QLabel>
#include <QLineEdit>
#include <QRegularExpression>
#include <QSignalSpy>
#include <QTest>
#include <cmath>
#include <memory>

#include "tests/ui/invented_runs.h"
#include "ui/controllers/configuration_controller.h"
#include "ui/services.h"
#include "ui/theme.h"
#include "ui/widgets/fit_bar.h"
#include "ui/widgets/message_widget.h"
#include "ui/widgets/metric_chart.h"
#include "ui/widgets/parameter_form.h"

namespace krasis::ui {
namespace {

using testing::HasSubstr;

Services services() {
  Services s;
  s.hardware.devices = 16;
  s.hardware.host_memory_bytes = std::size_t{8} << 30;
  s.resources = KRASIS_SOURCE_DIR "/resources";
  return s;
}

QPalette dark_palette() {
  QPalette palette;
  palette.setColor(QPalette::Window, QColor(30, 30, 30));
  palette.setColor(QPalette::Base, QColor(20, 20, 20));
  palette.setColor(QPalette::WindowText, QColor(230, 230, 230));
  palette.setColor(QPalette::Text, QColor(230, 230, 230));
  return palette;
}

TEST(Theme, TextColoursReadOnLightAndDark) {
  QPalette light;
  light.setColor(QPalette::Window, QColor(240, 240, 240));
  light.setColor(QPalette::Base, Qt::white);
  light.setColor(QPalette::WindowText, Qt::black);
  EXPECT_FALSE(is_dark(light));
  EXPECT_TRUE(is_dark(dark_palette()));
  for (const auto& palette : {light, dark_palette()}) {
    for (const auto tone : {Tone::Good, Tone::Bad, Tone::Warning, Tone::Muted}) {
      EXPECT_GE(contrast(tone_color(tone, palette), palette.color(QPalette::Base)), 4.5);
      EXPECT_GE(contrast(tone_color(tone, palette), palette.color(QPalette::Window)), 4.5);
    }
    for (int i = 0; i < 7; ++i) EXPECT_GE(contrast(readable_on(series_color(i, palette)), series_color(i, palette)), 4.5);
  }
  EXPECT_FALSE(themed_icon("sweep", light).isNull());
}

TEST(FitBar, NamesSegmentsAndSaysByHowMuchItIsOver) {
  FitBar bar;
  bar.resize(401, bar.sizeHint().height());
  bar.set_place({"Device 0", 1000, {{"dense weights", 250, ""}, {"kv cache", 250, "4096 tokens"}}});
  EXPECT_TRUE(bar.place().fits());
  const int y = bar.height() - 10;
  EXPECT_EQ(bar.segment_at({50, y}), 0);
  EXPECT_EQ(bar.segment_at({150, y}), 1);
  EXPECT_EQ(bar.segment_at({350, y}), -1) << "free memory is no segment";
  EXPECT_THAT(bar.accessibleDescription().toStdString(), HasSubstr("kv cache"));
  bar.set_place({"Device 0", 1 << 20, {{"group buffers", 3 << 20, ""}}});
  EXPECT_THAT(bar.place().summary().toStdString(), HasSubstr("over by 2.00"));
}

// The worker may sit behind ssh: then its machine's memory decides, not the window's.
TEST(ConfigurationController, PlansWithTheMemoryOfTheWorkersMachine) {
  const Services s = services();
  ConfigurationController controller(&s);
  ASSERT_TRUE(controller.plan());
  EXPECT_EQ(controller.plan()->places.front().budget_bytes, std::size_t{8} << 30) << "the worker has not spoken yet";
  FoundDevices found{.known = true, .host_memory_bytes = 1 << 20};
  controller.set_devices(found);
  EXPECT_EQ(controller.plan()->places.front().budget_bytes, std::size_t{1} << 20);
  EXPECT_FALSE(controller.fits());
  EXPECT_EQ(controller.plan_of(controller.configuration())->places.front().budget_bytes, std::size_t{1} << 20);
  found.host_memory_bytes = 0;
  controller.set_devices(found);
  EXPECT_EQ(controller.plan()->places.front().budget_bytes, std::size_t{8} << 30) << "an older worker does not say it";
}

TEST(FitPanel, ShowsAdviceOnlyWhenOverBudget) {
  FitPanel panel;
  Plan plan;
  plan.items = {{0, "group buffers", 300, ""}};
  plan.places = {{-1, 0, 1000}, {0, 300, 1000}};
  plan.advice = {"LGS 1 instead of 2 frees 150 B."};
  panel.set_plan(plan);
  EXPECT_EQ(panel.findChildren<FitBar*>().size(), 2);
  EXPECT_TRUE(panel.advice().isEmpty());
  plan.places[1].budget_bytes = 200;
  panel.set_plan(plan);
  EXPECT_FALSE(panel.fits());
  EXPECT_THAT(panel.advice().toStdString(), HasSubstr("LGS 1 instead of 2"));
}

TEST(MetricChart, AClickOnABarNamesItsRun) {
  MetricChart chart(MetricChart::Form::Bars);
  chart.resize(600, 400);
  const std::vector<results::RunSummary> runs{test::summary(1, 2, HotCache::Off, {100, 110}, {9, 9}),
                                              test::summary(2, 4, HotCache::Off, {50, 55}, {8, 8}),
                                              test::summary(3, 2, HotCache::On, {80, 85}, {7, 7})};
  chart.set_data(prefill_chart(runs));
  chart.show();
  QTest::qWait(50);
  EXPECT_EQ(chart.point_count(), 3U);
  QSignalSpy clicks(&chart, &MetricChart::run_clicked);
  for (const qint64 run : {1, 2, 3}) {
    const QPoint at = chart.position_of(run);
    ASSERT_FALSE(at.isNull());
    QTest::mouseClick(chart.viewport(), Qt::LeftButton, {}, at);
    ASSERT_FALSE(clicks.isEmpty());
    EXPECT_EQ(clicks.takeLast().at(0).toLongLong(), run);
  }
  QTest::mouseClick(chart.viewport(), Qt::LeftButton, {}, QPoint(3, 3));
  EXPECT_TRUE(clicks.isEmpty());
}

TEST(MetricChart, AClickOnALinesPointNamesItsRun) {
  MetricChart chart(MetricChart::Form::Lines);
  chart.resize(600, 400);
  chart.set_data(
      decode_chart({test::summary(1, 2, HotCache::Off, {100}, {9}), test::summary(2, 4, HotCache::Off, {50}, {3})}));
  chart.show();
  QTest::qWait(50);
  QSignalSpy clicks(&chart, &MetricChart::run_clicked);
  QTest::mouseClick(chart.viewport(), Qt::LeftButton, {}, chart.position_of(2));
  ASSERT_EQ(clicks.count(), 1);
  EXPECT_EQ(clicks.at(0).at(0).toLongLong(), 2);
  EXPECT_THAT(chart.accessibleDescription().toStdString(), HasSubstr("9.00"));
}

TEST(ParameterForm, HidesWhatDoesNotApplyAndPutsProblemsUnderTheirField) {
  const Services s = services();
  ConfigurationController controller(&s);
  ParameterForm form(&controller, {ParameterGroup::Model, ParameterGroup::Placement, ParameterGroup::Synthetic});
  form.show();
  auto* share = form.editor("hcs_share");
  ASSERT_NE(share, nullptr);
  EXPECT_FALSE(share->isVisible()) << "the hot cache is off";
  auto* hcs = qobject_cast<QComboBox*>(form.editor("hcs"));
  hcs->setFocus();
  QTest::keyClick(hcs, Qt::Key_Down);
  EXPECT_EQ(controller.configuration().hcs, HotCache::On);
  EXPECT_TRUE(share->isVisible());
  EXPECT_FALSE(form.editor("synthetic_seed")->isVisible());

  auto* lgs = form.editor("lgs")->findChild<QLineEdit*>();
  const auto type = [lgs](const char* text) {
    lgs->selectAll();
    QTest::keyClicks(lgs, text);
  };
  auto* error = form.findChild<QLabel*>("error_lgs");
  ASSERT_NE(error, nullptr);
  EXPECT_FALSE(error->isVisible());
  type("1000");
  EXPECT_EQ(controller.configuration().lgs, 1000);
  EXPECT_TRUE(error->isVisible()) << "the model has five layers";
  EXPECT_FALSE(controller.why_not_runnable().isEmpty());
  type("1");
  EXPECT_FALSE(error->isVisible());
  EXPECT_EQ(controller.why_not_runnable().toStdString(), "");
}

TEST(ParameterForm, EachRefusalOfThePlanStandsUnderItsOwnParameter) {
  Services s = services();
  s.hardware.devices = 2;
  ConfigurationController controller(&s);
  ParameterForm form(&controller, {ParameterGroup::Placement, ParameterGroup::Context});
  struct Case {
    const char *parameter, *value, *expected;
  };
  for (const auto& [parameter, value, expected] : {Case{"max_context", "999999", "was made for at most"},
                                                   Case{"lgs", "1000", "layers"}, Case{"device_count", "3", "2 exist"}}) {
    controller.set_configuration({});
    ASSERT_EQ(controller.why_not_runnable().toStdString(), "");
    controller.set_text(*find_parameter(parameter), value);
    for (const auto* error : form.findChildren<QLabel*>(QRegularExpression("^error_"))) {
      const bool concerned = error->objectName() == QStringLiteral("error_") + parameter;
      EXPECT_EQ(!error->isHidden(), concerned) << error->objectName().toStdString() << " while " << parameter << " is wrong";
      if (concerned) {
        EXPECT_THAT(error->text().toStdString(), HasSubstr(expected));
      }
    }
    EXPECT_FALSE(controller.plan());
  }
}

/// A form in which a user types; its locale is the application's while the object lives.
class TypedForm {
 public:
  explicit TypedForm(const QLocale& locale) {
    QLocale::setDefault(locale);
    services_ = services();
    controller_ = std::make_unique<ConfigurationController>(&services_);
    RunConfiguration configuration;
    configuration.hcs = HotCache::On;
    configuration.temperature = 1;  // the other sampling parameters apply
    controller_->set_configuration(configuration);
    form_ = std::make_unique<ParameterForm>(
        controller_.get(), std::vector{ParameterGroup::Placement, ParameterGroup::Context, ParameterGroup::Workload,
                                       ParameterGroup::Sampling, ParameterGroup::Synthetic});
    form_->show();
    form_->activateWindow();
    EXPECT_TRUE(QTest::qWaitForWindowActive(form_.get()));
  }
  ~TypedForm() { QLocale::setDefault(QLocale(QLocale::English, QLocale::UnitedStates)); }

  /// Selects the field's text, types another one and leaves the field with Tab.
  void type(const char* name, const QString& text) {
    QWidget* editor = form_->editor(name);
    editor->setFocus();
    QTest::keyClick(editor, Qt::Key_A, Qt::ControlModifier);
    QTest::keyClicks(editor, text);
    typed_ = shown(name);
    QTest::keyClick(editor, Qt::Key_Tab);
    EXPECT_FALSE(editor->hasFocus());
  }
  std::string stored(const char* name) { return find_parameter(name)->text(controller_->configuration()); }
  std::string problem(const char* name) { return controller_->problem_of(name).toStdString(); }
  QString typed() const { return typed_; }  ///< what stood in the field before Tab
  QWidget* editor(const char* name) { return form_->editor(name); }
  QString shown(const char* name) {
    auto* line = qobject_cast<QLineEdit*>(editor(name));
    return (line ? line : editor(name)->findChild<QLineEdit*>())->text();
  }
  ConfigurationController& controller() { return *controller_; }

 private:
  Services services_;
  std::unique_ptr<ConfigurationController> controller_;
  std::unique_ptr<ParameterForm> form_;
  QString typed_;
};

TEST(ParameterForm, StoresTheDecimalThatIsTypedInEveryLocaleAndSpelling) {
  for (const QLocale& locale : {QLocale::c(), QLocale(QLocale::German, QLocale::Germany)}) {
    TypedForm form(locale);
    for (const auto& parameter : parameters()) {
      if (parameter.type != ParameterType::Real) continue;
      if (!parameter.applies(form.controller().configuration())) continue;
      const double low = parameter.minimum, range = parameter.maximum - parameter.minimum;
      for (const double share : {0.125, 0.25, 0.35, 1.0, 0.0625}) {
        const double value = std::round((low + share * range) * 1e4) / 1e4;
        for (const char* spelling : {".", ","}) {
          const QString text = QString::number(value, 'g', 6).replace(QLatin1Char('.'), QLatin1String(spelling));
          form.type(parameter.name.data(), text);
          EXPECT_EQ(form.typed(), text) << "the text changed under the cursor";
          EXPECT_EQ(form.stored(parameter.name.data()), QString::number(value, 'g', 6).toStdString()) << parameter.name;
          EXPECT_EQ(form.shown(parameter.name.data()), locale.toString(value, 'g', 6)) << parameter.name;
        }
      }
    }
  }
}

TEST(ParameterForm, StoresTheWholeNumberThatIsTypedOrRefusesIt) {
  TypedForm form(QLocale(QLocale::German, QLocale::Germany));
  for (const char* text : {"2048", "3000", "513"}) {
    form.type("max_context", text);
    EXPECT_EQ(form.typed(), text);
    EXPECT_EQ(form.stored("max_context"), text);
  }
  form.type("seed", "1234567890123");
  EXPECT_EQ(form.stored("seed"), "1234567890123");
  // No key is swallowed: what stands in the field is refused, and not a part of it stored.
  for (const auto& [name, text] : {std::pair{"lgs", "20000"},
                                   {"lgs", "2,5"},
                                   {"hcs_share", "2,5"},
                                   {"temperature", "1.2.3"},
                                   {"hcs_share", "abc"},
                                   {"prompt_tokens", "4.096"},
                                   {"seed", "12x"}}) {
    const std::string before = form.stored(name);
    form.type(name, text);
    EXPECT_EQ(form.shown(name), text);
    EXPECT_NE(form.problem(name), "") << name << " " << text;
    form.type(name, QString::fromStdString(before));
    EXPECT_EQ(form.problem(name), "");
    EXPECT_EQ(form.stored(name), before);
  }
}

TEST(ParameterForm, NewsFromTheWorkerLeaveWhatIsBeingTyped) {
  const Services s = services();
  ConfigurationController controller(&s);
  ParameterForm form(&controller, {ParameterGroup::Model, ParameterGroup::Placement});
  form.show();
  form.activateWindow();
  ASSERT_TRUE(QTest::qWaitForWindowActive(&form));
  for (const auto& [name, text] : {std::pair{"model", "/some/where"}, {"gpus", "0,1"}, {"lgs", "x2"}}) {
    QWidget* editor = form.editor(name);
    editor->setFocus();
    QTest::keyClick(editor, Qt::Key_A, Qt::ControlModifier);
    QTest::keyClicks(editor, text);
    controller.set_devices({});
    auto* line = qobject_cast<QLineEdit*>(editor);
    EXPECT_EQ((line ? line : editor->findChild<QLineEdit*>())->text(), text);
  }
}

TEST(ParameterForm, AChangeFromElsewhereReplacesARefusedText) {
  TypedForm form(QLocale::c());
  form.type("hcs_share", "7");
  EXPECT_NE(form.problem("hcs_share"), "");
  RunConfiguration other = form.controller().configuration();
  other.hcs_share = 0.75;
  form.controller().set_configuration(other);
  EXPECT_EQ(form.shown("hcs_share"), "0.75");
  EXPECT_EQ(form.problem("hcs_share"), "");
}

TEST(ParameterForm, ArrowKeysStepWithinTheRange) {
  TypedForm form(QLocale::c());
  form.type("lgs", "1");
  form.editor("lgs")->setFocus();
  QTest::keyClick(form.editor("lgs"), Qt::Key_Down);
  EXPECT_EQ(form.stored("lgs"), "1");
  QTest::keyClick(form.editor("lgs"), Qt::Key_Up);
  EXPECT_EQ(form.stored("lgs"), "2");
  EXPECT_EQ(form.shown("lgs"), "2");
  form.type("hcs_share", "0.97");
  form.editor("hcs_share")->setFocus();
  QTest::keyClick(form.editor("hcs_share"), Qt::Key_Up);
  EXPECT_EQ(form.stored("hcs_share"), "1");
}

TEST(ParameterForm, EveryControlHasNamesAndABuddy) {
  const Services s = services();
  ConfigurationController controller(&s);
  ParameterForm form(&controller, {ParameterGroup::Model, ParameterGroup::Placement, ParameterGroup::Quantization,
                                   ParameterGroup::Context, ParameterGroup::Workload, ParameterGroup::Sampling,
                                   ParameterGroup::Synthetic});
  QSet<QWidget*> buddies;
  for (const auto* label : form.findChildren<QLabel*>()) {
    if (label->buddy()) buddies << label->buddy();
  }
  for (const auto& parameter : parameters()) {
    auto* editor = form.editor(parameter.name);
    ASSERT_NE(editor, nullptr) << parameter.name;
    EXPECT_FALSE(editor->objectName().isEmpty());
    EXPECT_FALSE(editor->accessibleName().isEmpty());
    EXPECT_TRUE(buddies.contains(editor)) << parameter.name;
  }
}

TEST(ConfigurationController, AModelThatIsNotThereSaysSoUnderTheModel) {
  const Services s = services();
  ConfigurationController controller(&s);
  controller.set_text(*find_parameter("model"), "/nowhere/at/all");
  EXPECT_THAT(controller.problem_of("model").toStdString(), HasSubstr("/nowhere/at/all"));
  EXPECT_FALSE(controller.plan());
  controller.set_text(*find_parameter("model"), "embedded");
  ASSERT_TRUE(controller.plan()) << controller.plan().error().message();
  EXPECT_TRUE(controller.fits());
  controller.set_text(*find_parameter("vram_budget_mib"), "1");
  EXPECT_FALSE(controller.fits());
  EXPECT_TRUE(controller.why_not_runnable().isEmpty()) << "over budget may be tried anyway";
}

TEST(Services, FindingsShowGlyphTitleAndRemedyWarningsFirst) {
  const auto facts = facts_of({{"smt", Severity::Ok, "No SMT siblings", "2 cores.", ""},
                               {"numa", Severity::Unknown, "NUMA nodes: not shown", "Not said.", ""},
                               {"governor", Severity::Warning, "Governor: powersave", "On 4 CPUs.", "Run cpupower."},
                               {"of_the_future", Severity::Info, "Something", "A detail.", ""}});
  ASSERT_EQ(facts.size(), 4u);
  EXPECT_EQ(facts[0].name, "Clock");
  EXPECT_EQ(facts[0].value, QStringLiteral("\u26a0 Governor: powersave\n\u2192 Run cpupower."));
  EXPECT_EQ(facts[0].tip, "On 4 CPUs.\nRun cpupower.");
  EXPECT_EQ(facts[1].name, "of_the_future");
  EXPECT_EQ(facts[1].value, QStringLiteral("\u2139 Something"));
  EXPECT_EQ(facts[2].value, "? NUMA nodes: not shown");
  EXPECT_EQ(facts[3].value, QStringLiteral("\u2713 No SMT siblings"));
  FactsModel model;
  model.set_facts(facts);
  EXPECT_EQ(model.index(0, 1).data(Qt::ToolTipRole).toString(), facts[0].tip);
}

TEST(Services, EveryFindingOfThisMachineHasAName) {
  for (const Finding& finding : check_system()) {
    EXPECT_NE(facts_of({finding})[0].name.toStdString(), finding.id) << "shown by its identifier";
  }
}

TEST(MessageWidget, PlainWhileItStreamsMarkdownAndChipsWhenComplete) {
  MessageWidget widget;
  ChatMessage message{{"assistant", "some **bold**"}, false, {}, {}};
  widget.set_message(message);
  EXPECT_EQ(widget.findChild<QLabel*>("messageText")->textFormat(), Qt::PlainText);
  EXPECT_TRUE(widget.chips().isEmpty());
  message.complete = true;
  message.figures = {12, 34, 500, 0.024, 56.7, "length"};
  widget.set_message(message);
  EXPECT_EQ(widget.findChild<QLabel*>("messageText")->textFormat(), Qt::MarkdownText);
  EXPECT_EQ(widget.chips(),
            QStringList({"prefill 500.0 tok/s", "TTFT 0.024 s", "decode 56.7 tok/s", "34 tokens", "stop: length"}));
}

}  // namespace
}  // namespace krasis::ui
