#include "ui/docks/configuration_dock.h"

#include <QLabel>
#include <QScrollArea>
#include <QVBoxLayout>

#include "ui/controllers/configuration_controller.h"
#include "ui/format.h"
#include "ui/widgets/fit_bar.h"
#include "ui/widgets/parameter_form.h"

namespace krasis::ui {

ConfigurationDock::ConfigurationDock(ConfigurationController* controller, QWidget* parent)
    : QDockWidget(tr("Configuration"), parent), controller_(controller) {
  setObjectName(QStringLiteral("configurationDock"));
  auto* content = new QWidget(this);
  auto* layout = new QVBoxLayout(content);
  layout->setContentsMargins(6, 6, 6, 6);
  fit_ = new FitPanel(content);
  prediction_ = new QLabel(content);
  prediction_->setObjectName(QStringLiteral("prediction"));
  prediction_->setAccessibleName(tr("Predicted speed"));
  prediction_->setWordWrap(true);
  form_ = new ParameterForm(controller_,
                            {ParameterGroup::Model, ParameterGroup::Synthetic, ParameterGroup::Placement,
                             ParameterGroup::Quantization, ParameterGroup::Context, ParameterGroup::Workload,
                             ParameterGroup::Sampling},
                            content);
  auto* scroll = new QScrollArea(content);
  scroll->setObjectName(QStringLiteral("configurationScroll"));
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  scroll->setWidget(form_);
  scroll->setMinimumWidth(form_->minimumSizeHint().width() + 24);
  layout->addWidget(fit_);
  layout->addWidget(prediction_);
  layout->addWidget(scroll, 1);
  setWidget(content);
  connect(controller_, &ConfigurationController::changed, this, &ConfigurationDock::refresh);
  refresh();
}

void ConfigurationDock::refresh() {
  const auto& plan = controller_->plan();
  if (!plan) {
    fit_->set_error(controller_->why_not_runnable());
    prediction_->hide();
    return;
  }
  fit_->set_plan(*plan);
  QStringList parts;
  if (plan->predicted_prefill_s > 0) {
    parts << tr("predicted prefill %1 tok/s")
                 .arg(format_number(controller_->configuration().prompt_tokens / plan->predicted_prefill_s, 1));
  }
  if (plan->predicted_decode_s_per_token > 0) {
    parts << tr("predicted decode %1 tok/s").arg(format_number(1.0 / plan->predicted_decode_s_per_token, 1));
  }
  if (plan->cached_experts > 0) parts << counted(plan->cached_experts, tr("1 expert cached"), tr("%1 experts cached"));
  prediction_->setText(parts.join(QStringLiteral(", ")));
  prediction_->setVisible(!parts.isEmpty());
}

}  // namespace krasis::ui
