#pragma once

#include <QWidget>
#include <vector>

#include "engine/config/parameters.h"

class QFormLayout;
class QLabel;
class QLineEdit;
class QVBoxLayout;

namespace krasis::ui {

class ConfigurationController;

/// The form that the parameter table describes, for some of its groups. Parameters that do not apply are hidden, what is
/// wrong stands under its field, and what a parameter affects is in its tooltip.
class ParameterForm : public QWidget {
  Q_OBJECT

 public:
  ParameterForm(ConfigurationController* controller, std::vector<ParameterGroup> groups, QWidget* parent = nullptr);
  /// The editor of a parameter; null if this form does not have it.
  QWidget* editor(std::string_view parameter) const;

 protected:
  void changeEvent(QEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  /// The wheel scrolls the form; it changes a value only in the field that has the focus.
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  struct Row {
    const Parameter* parameter;
    QFormLayout* layout;
    QWidget* cell;    ///< editor and error
    QWidget* editor;
    QLabel* error;
  };
  QWidget* make_editor(const Parameter& parameter, QWidget* parent);
  /// A field for an Int or a Real, with its unit beside it.
  QWidget* make_number_edit(const Parameter& parameter, QWidget* parent);
  /// A line for numbers, and a menu of the GPUs that the worker found.
  QWidget* make_gpu_picker(const Parameter& parameter, QWidget* parent);
  QWidget* make_model_picker(const Parameter& parameter, QWidget* parent);
  void add_group(ParameterGroup group, QVBoxLayout* layout);
  /// Gives the controller what was typed in full.
  void take(const Parameter& parameter, QLineEdit* line);
  void refresh();
  void refresh_editor(const Row& row);
  /// QFormLayout gives wrapped text in a nested layout less height than it needs.
  void fit_errors();

  ConfigurationController* controller_;
  std::vector<Row> rows_;
  QLabel* summary_ = nullptr;  ///< the model's architecture
};

}  // namespace krasis::ui
