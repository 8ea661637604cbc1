#include "ui/widgets/parameter_form.h"

#include <QComboBox>
#include <QDir>
#include <QEvent>
#include <QFileDialog>
#include <QFormLayout>
#include <QGroupBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QPushButton>
#include <QSignalBlocker>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>

#include "ui/controllers/configuration_controller.h"
#include "ui/format.h"
#include "ui/theme.h"
#include "ui/widgets/number_edit.h"

namespace krasis::ui {
namespace {

QString from(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

QString tooltip_of(const Parameter& parameter) {
  QStringList costs;
  if (parameter.affects & Affects::kMemory) costs << ParameterForm::tr("memory");
  if (parameter.affects & Affects::kPrefill) costs << ParameterForm::tr("prefill speed");
  if (parameter.affects & Affects::kDecode) costs << ParameterForm::tr("decode speed");
  if (parameter.affects & Affects::kQuality) costs << ParameterForm::tr("quality");
  QString text = from(parameter.help);
  if (const QString range = QString::fromStdString(parameter.range_text()); !range.isEmpty()) {
    text += QLatin1Char('\n') + ParameterForm::tr("Values: %1").arg(range);
  }
  if (!costs.isEmpty()) text += QLatin1Char('\n') + ParameterForm::tr("Affects: %1").arg(costs.join(QStringLiteral(", ")));
  return QStringLiteral("<qt>%1</qt>").arg(text.toHtmlEscaped().replace(QLatin1Char('\n'), QStringLiteral("<br>")));
}

/// Somebody has begun another text that nobody has read yet.
bool is_being_typed(const QLineEdit* line) {
  return line->hasFocus() && line->isModified();
}

}  // namespace

ParameterForm::ParameterForm(ConfigurationController* controller, std::vector<ParameterGroup> groups, QWidget* parent)
    : QWidget(parent), controller_(controller) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  for (const auto group : groups) add_group(group, layout);
  connect(controller_, &ConfigurationController::changed, this, &ParameterForm::refresh);
  refresh();
}

void ParameterForm::add_group(ParameterGroup group, QVBoxLayout* layout) {
  auto* box = new QGroupBox(from(name_of(group)), this);
  box->setObjectName(QStringLiteral("group_") + from(name_of(group)));
  auto* form = new QFormLayout(box);
  form->setFieldGrowthPolicy(QFormLayout::AllNonFixedFieldsGrow);
  form->setRowWrapPolicy(QFormLayout::DontWrapRows);
  for (const auto& parameter : parameters()) {
    if (parameter.group != group) continue;
    auto* cell = new QWidget(box);
    auto* column = new QVBoxLayout(cell);
    column->setContentsMargins(0, 0, 0, 0);
    column->setSpacing(2);
    auto* editor = make_editor(parameter, cell);
    auto* error = new QLabel(cell);
    error->setObjectName(QStringLiteral("error_") + from(parameter.name));
    error->setAccessibleName(tr("Problem of %1").arg(from(parameter.label)));
    error->setWordWrap(true);
    error->hide();
    column->addWidget(editor->parentWidget() == cell ? editor : editor->parentWidget());
    column->addWidget(error);
    auto* label = new QLabel(from(parameter.label), box);
    label->setBuddy(editor);
    label->setToolTip(tooltip_of(parameter));
    form->addRow(label, cell);
    rows_.push_back({&parameter, form, cell, editor, error});
  }
  if (group == ParameterGroup::Model) {
    summary_ = new QLabel(box);
    summary_->setObjectName(QStringLiteral("modelSummary"));
    summary_->setAccessibleName(tr("Architecture of the model"));
    summary_->setWordWrap(true);
    form->addRow(summary_);
  }
  layout->addWidget(box);
}

void ParameterForm::take(const Parameter& parameter, QLineEdit* line) {
  line->setModified(false);
  controller_->set_text(parameter, line->text());
}

QWidget* ParameterForm::make_model_picker(const Parameter& parameter, QWidget* parent) {
  auto* line = new QWidget(parent);
  auto* row = new QHBoxLayout(line);
  row->setContentsMargins(0, 0, 0, 0);
  auto* box = new QComboBox(line);
  box->setEditable(true);
  box->addItem(QStringLiteral("embedded"));
  box->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  box->setMinimumContentsLength(10);
  auto* browse = new QToolButton(line);
  browse->setObjectName(QStringLiteral("browseModel"));
  browse->setAccessibleName(tr("Choose another model"));
  browse->setToolTip(tr("Choose another model"));
  browse->setText(QStringLiteral("\u2026"));
  browse->setFocusPolicy(Qt::StrongFocus);
  browse->setPopupMode(QToolButton::InstantPopup);
  auto* menu = new QMenu(browse);
  auto* folder = menu->addAction(tr("Model &folder\u2026"));
  auto* synthetic = menu->addAction(tr("&Synthetic weights for a config.json\u2026"));
  browse->setMenu(menu);
  row->addWidget(box, 1);
  row->addWidget(browse);
  connect(folder, &QAction::triggered, this, [this, &parameter] {
    const QString path = QFileDialog::getExistingDirectory(this, tr("Model folder in Hugging Face layout"));
    if (!path.isEmpty()) controller_->set_text(parameter, path);
  });
  connect(synthetic, &QAction::triggered, this, [this, &parameter] {
    const QString path = QFileDialog::getOpenFileName(this, tr("config.json of the model"), {}, QStringLiteral("*.json"));
    if (!path.isEmpty()) controller_->set_text(parameter, QStringLiteral("synthetic:") + path);
  });
  connect(box->lineEdit(), &QLineEdit::editingFinished, this,
          [this, &parameter, box] { take(parameter, box->lineEdit()); });
  connect(box, &QComboBox::activated, this,
          [this, &parameter, box] { controller_->set_text(parameter, box->currentText()); });
  return box;
}

QWidget* ParameterForm::make_gpu_picker(const Parameter& parameter, QWidget* parent) {
  auto* line = new QWidget(parent);
  auto* row = new QHBoxLayout(line);
  row->setContentsMargins(0, 0, 0, 0);
  auto* edit = new QLineEdit(line);
  auto* choose = new QToolButton(line);
  choose->setObjectName(QStringLiteral("chooseGpus"));
  choose->setAccessibleName(tr("Choose among the GPUs that were found"));
  choose->setToolTip(choose->accessibleName());
  choose->setText(QStringLiteral("\u2026"));
  choose->setFocusPolicy(Qt::StrongFocus);
  choose->setPopupMode(QToolButton::InstantPopup);
  auto* menu = new QMenu(choose);
  choose->setMenu(menu);
  row->addWidget(edit, 1);
  row->addWidget(choose);
  connect(edit, &QLineEdit::editingFinished, this, [this, &parameter, edit] { take(parameter, edit); });
  connect(menu, &QMenu::aboutToShow, this, [this, &parameter, menu] {
    menu->clear();
    const auto chosen = gpu_indices(controller_->configuration().gpus).value_or(std::vector<int>{});
    for (const auto& gpu : controller_->devices().gpus) {
      const int index = static_cast<int>(gpu.index);
      auto* action = menu->addAction(tr("%1: %2, %3").arg(index).arg(QString::fromStdString(gpu.name), format_bytes(gpu.memory_bytes)));
      action->setCheckable(true);
      action->setChecked(chosen.empty() || std::find(chosen.begin(), chosen.end(), index) != chosen.end());
    }
  });
  connect(menu, &QMenu::triggered, this, [this, &parameter, menu] {
    QStringList indices;
    const auto actions = menu->actions();
    for (int i = 0; i < actions.size(); ++i) {
      if (actions[i]->isChecked()) indices << QString::number(i);
    }
    const bool all = indices.isEmpty() || indices.size() == actions.size();
    controller_->set_text(parameter, all ? QStringLiteral("all") : indices.join(QLatin1Char(',')));
  });
  return edit;
}

QWidget* ParameterForm::make_number_edit(const Parameter& parameter, QWidget* parent) {
  auto* line = new QWidget(parent);
  auto* row = new QHBoxLayout(line);
  row->setContentsMargins(0, 0, 0, 0);
  auto* edit = new NumberEdit(parameter, line);
  row->addWidget(edit, 1);
  if (!parameter.unit.empty()) row->addWidget(new QLabel(from(parameter.unit), line));
  connect(edit, &NumberEdit::edited, this,
          [this, &parameter, edit] { controller_->set_text(parameter, edit->typed()); });
  return edit;
}

QWidget* ParameterForm::make_editor(const Parameter& parameter, QWidget* parent) {
  QWidget* editor = nullptr;
  const auto set = [this, &parameter](const QString& text) { controller_->set_text(parameter, text); };
  if (parameter.name == "model") {
    editor = make_model_picker(parameter, parent);
  } else if (parameter.name == "gpus") {
    editor = make_gpu_picker(parameter, parent);
  } else if (!parameter.choices.empty()) {
    auto* box = new QComboBox(parent);
    for (const auto& choice : parameter.choices) box->addItem(from(choice.label), from(choice.value));
    connect(box, &QComboBox::currentIndexChanged, this, [box, set] { set(box->currentData().toString()); });
    editor = box;
  } else if (parameter.type == ParameterType::Int || parameter.type == ParameterType::Real) {
    editor = make_number_edit(parameter, parent);
  } else {
    auto* line = new QLineEdit(parent);
    connect(line, &QLineEdit::editingFinished, this, [this, &parameter, line] { take(parameter, line); });
    editor = line;
  }
  editor->setObjectName(QStringLiteral("parameter_") + from(parameter.name));
  editor->setAccessibleName(from(parameter.label));
  editor->setAccessibleDescription(from(parameter.help));
  editor->setToolTip(tooltip_of(parameter));
  if (!qobject_cast<QLineEdit*>(editor)) editor->setFocusPolicy(Qt::StrongFocus);
  editor->installEventFilter(this);
  return editor;
}

QWidget* ParameterForm::editor(std::string_view parameter) const {
  for (const auto& row : rows_) {
    if (row.parameter->name == parameter) return row.editor;
  }
  return nullptr;
}

void ParameterForm::refresh_editor(const Row& row) {
  if (controller_->is_refused(row.parameter->name)) return;  // it stays beside the reason until a good one comes
  const QString text = QString::fromStdString(row.parameter->text(controller_->configuration()));
  const QSignalBlocker blocker(row.editor);
  if (auto* box = qobject_cast<QComboBox*>(row.editor)) {
    if (box->isEditable()) {
      if (box->currentText() != text && !is_being_typed(box->lineEdit())) box->setEditText(text);
    } else {
      box->setCurrentIndex(box->findData(text));
    }
  } else if (auto* number = qobject_cast<NumberEdit*>(row.editor)) {
    number->show_value(text);
  } else if (auto* line = qobject_cast<QLineEdit*>(row.editor); line && !is_being_typed(line)) {
    line->setText(text);
  }
}

void ParameterForm::refresh() {
  for (const auto& row : rows_) {
    refresh_editor(row);
    const QString problem = controller_->problem_of(row.parameter->name);
    row.error->setText(problem.isEmpty() ? QString() : QStringLiteral("\u26a0 ") + problem);
    QPalette colors = palette();
    colors.setColor(QPalette::WindowText, tone_color(Tone::Bad, palette()));
    row.error->setPalette(colors);
    row.error->setVisible(!problem.isEmpty());
    bool applies = static_cast<bool>(row.parameter->applies(controller_->configuration()));
    // One GPU is no choice.
    if (row.parameter->name == "gpus" && controller_->devices().known && controller_->devices().gpus.size() < 2) {
      applies = applies && !problem.isEmpty();
    }
    row.cell->setVisible(applies);
    if (auto* label = row.layout->labelForField(row.cell)) label->setVisible(applies);
  }
  fit_errors();
  // A group without any field that applies is no group.
  for (auto* box : findChildren<QGroupBox*>()) {
    bool any = false;
    for (const auto& row : rows_) any = any || (row.cell->parentWidget() == box && !row.cell->isHidden());
    box->setVisible(any);
  }
  if (summary_) {
    const auto& model = controller_->model();
    QString text =
        model ? tr("%1: %2").arg(QString::fromStdString(model->name), QString::fromStdString(model_summary(*model)))
              : QString();
    if (model && model->synthetic) text += tr("\nSynthetic weights: figures say nothing about quality.");
    summary_->setText(text);
    summary_->setVisible(!text.isEmpty());
  }
}

void ParameterForm::fit_errors() {
  for (const auto& row : rows_) {
    const int wanted = row.error->isHidden() ? 0 : row.error->heightForWidth(row.cell->width());
    if (row.error->minimumHeight() != wanted) row.error->setMinimumHeight(wanted);
  }
}

void ParameterForm::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  fit_errors();
}

bool ParameterForm::eventFilter(QObject* watched, QEvent* event) {
  if (event->type() == QEvent::Wheel && !qobject_cast<QWidget*>(watched)->hasFocus()) {
    event->ignore();
    return true;
  }
  return QWidget::eventFilter(watched, event);
}

void ParameterForm::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::PaletteChange) refresh();
}

}  // namespace krasis::ui
