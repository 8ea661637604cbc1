#pragma once

#include <QDockWidget>

class QLabel;

namespace krasis::ui {

class ConfigurationController;
class FitPanel;
class ParameterForm;

/// The configuration that Chat and Sweep share, and what it needs in each place.
class ConfigurationDock : public QDockWidget {
  Q_OBJECT

 public:
  explicit ConfigurationDock(ConfigurationController* controller, QWidget* parent = nullptr);
  FitPanel* fit() const { return fit_; }
  ParameterForm* form() const { return form_; }

 private:
  void refresh();

  ConfigurationController* controller_;
  ParameterForm* form_;
  FitPanel* fit_;
  QLabel* prediction_;
};

}  // namespace krasis::ui
